"""What the library says in the words of Python, in those of the command line."""

from __future__ import annotations

WORDS = {
    "resume=False": "--restart",
    "restart=True": "--restart",
    "say decay, such as decay=0.1": "say --decay 0.1",
    "the same call goes on": "the same command goes on",
    "a lower learning_rate": "a lower --learning-rate",
    "windows=True": "--windows",
    'backend="blas"': "--backend blas",
    "local_files_only": "--local-files-only",
    " or token=)": ")",
    'candidate_labels, such as ["travel", "cooking"]': "--labels, such as travel,cooking",
    "hypothesis_template": "--template",
    "CrossEncoder(...)": "`minidistil rerank`",
    "load(...).encode": "`minidistil embed` and `minidistil search`",
    'pipeline("fill-mask")': "`minidistil fill-mask`",
    'pipeline("question-answering")': "`minidistil qa`",
    'pipeline("text-classification")': "`minidistil classify`",
    'pipeline("token-classification")': "`minidistil ner`",
    'pipeline("zero-shot-classification")': "`minidistil zero-shot`",
    "needs ranges,": "needs --ranges,",
}
"""Of messages that reach the command line: keyword -> option. A keyword that it does not have is left out."""


def in_words_of_the_shell(message: str) -> str:
    """Return a message of the library as the command line says it."""
    for python, shell in WORDS.items():
        message = message.replace(python, shell)
    return message
