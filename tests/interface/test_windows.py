"""Windows over long texts by tokenizers of every kind: WordPiece, bytes, SentencePiece."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.tokenization import AutoTokenizer, Tokenizer
from tests.pipelines.checkpoints import AWKWARD, LONG
from tests.pipelines.tokenizers import write_bytes_tokenizer, write_pieces_tokenizer

TEXTS = [text for text in AWKWARD.values() if text.strip()]
KINDS = ("bert", "roberta", "xlm-roberta", "camembert", "albert")


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory, bert_small: Path) -> dict[str, Tokenizer]:
    made = {"bert": AutoTokenizer.from_pretrained(bert_small)}
    for kind in KINDS[1:]:
        folder = tmp_path_factory.mktemp(kind)
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
        if kind == "roberta":
            write_bytes_tokenizer(folder, [LONG, *TEXTS], 600)
        else:
            write_pieces_tokenizer(folder, kind, [LONG, *TEXTS], 600)
        made[kind] = AutoTokenizer.from_pretrained(folder)
    return made


def test_which_have_token_types(tokenizers: dict[str, Tokenizer]) -> None:
    typed = {kind for kind, tokenizer in tokenizers.items() if "token_type_ids" in tokenizer("a", "b")}
    assert typed == {"bert", "albert"}


@given(
    kind=st.sampled_from(KINDS),
    texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4),
    room=st.integers(4, 60),
    stride=st.integers(0, 3),
    other=st.sampled_from(["", "before", "after"]),
    special=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_windows_say_of_each_token_what_the_whole_says(
    tokenizers: dict[str, Tokenizer],
    kind: str,
    texts: list[str],
    room: int,
    stride: int,
    other: str,
    special: bool,
) -> None:
    """Ids, characters, words and which text of a pair a token is of, with special tokens around or not."""
    tokenizer, text = tokenizers[kind], " ".join(texts)
    short = "paris is"
    items = {"": (text,), "before": (short, text), "after": (text, short)}[other]
    whole = tokenizer(text, add_special_tokens=False)
    uncut = tokenizer(short, add_special_tokens=False)["input_ids"] if other else []
    encoding = tokenizer(
        *items,
        truncation="only_second" if other == "before" else "only_first",
        max_length=room + len(uncut) + (tokenizer.num_special_tokens_to_add(bool(other)) if special else 0),
        stride=stride,
        return_overflowing_tokens=True,
        add_special_tokens=special,
    )
    seen, long = 0, int(other == "before")
    for row, window in enumerate(encoding.encodings):
        sequences = encoding.sequence_ids(row)
        assert [s is None for s in sequences] == [bool(m) for m in window.special_tokens_mask]
        assert special or None not in sequences
        assert [window.ids[i] for i, s in enumerate(sequences) if s == 1 - long] == uncut
        own = [i for i, s in enumerate(sequences) if s == long]
        assert len(own) <= room
        first = seen - stride if row else 0
        for place, i in enumerate(own, first):
            assert window.ids[i] == whole["input_ids"][place]
            assert window.offsets[i] == whole.encodings[0].offsets[place]
            assert window.word_ids[i] == whole.word_ids()[place]
            assert encoding.token_to_chars(row, i) == whole.token_to_chars(place)
        seen = first + len(own)
    assert seen == len(whole["input_ids"])
