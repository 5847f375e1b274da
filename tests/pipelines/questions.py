"""The questions of the recorded answers: which checkpoint, what is asked, with which options."""

from __future__ import annotations

from typing import Any

from tests.pipelines.checkpoints import AWKWARD, LONG

QUESTIONS = ["Where does Sarah live?", "Who?", "¿Qué más, 北京?", "What is [SEP] [MASK] this", "x" * 120]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"top_k": 5},
    {"top_k": 20, "max_answer_len": 3},
    {"max_answer_len": 1},
    {"max_answer_len": 200, "top_k": 3},
    {"handle_impossible_answer": True},
    {"handle_impossible_answer": True, "top_k": 4},
    {"align_to_words": False},
    {"align_to_words": False, "top_k": 6},
]
WINDOWS: list[dict[str, Any]] = [
    {},
    {"doc_stride": 0, "top_k": 3},
    {"max_seq_len": 64, "top_k": 4},
    {"max_seq_len": 100, "doc_stride": 40, "handle_impossible_answer": True, "top_k": 2},
    {"max_seq_len": 512, "doc_stride": 256, "align_to_words": False},
    {"max_question_len": 2},
]
"""Options for contexts that take several windows."""


_MANY = ("questions", "questions-bert", "questions-roberta")
_FEW = ("questions-albert", "questions-electra", "questions-xlmroberta", "questions-camembert", "questions-mobilebert")


def cases() -> list[tuple[str, str, str, dict[str, Any]]]:
    """Checkpoint, question, context and options of every recorded answer."""
    found = []
    contexts = [text for text in AWKWARD.values() if text]
    for name in (*_MANY, *_FEW):
        some = name in _FEW
        for i, context in enumerate(contexts):
            for j in range(1 if some else 3):
                options = OPTIONS[(2 * i + 1 if some else 3 * i + j) % len(OPTIONS)]
                found.append((name, QUESTIONS[(i + j) % len(QUESTIONS)], context, options))
        for question in (QUESTIONS[0], "Who wrote letter number 70, and to whom in England was it?")[some:]:
            found += [(name, question, LONG, options) for options in (WINDOWS[1::3] if some else WINDOWS)]
    return found
