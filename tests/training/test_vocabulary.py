"""A smaller vocabulary: the same words, the same vectors of the pieces that are left, the same tokens everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.tokenization import Tokenizer
from minidistil.training.vocabulary import choose_pieces, count_pieces, count_words, cut_vocabulary
from minidistil.weights import CheckpointError
from minidistil.weights.named import named
from tests import synthetic
from tests.synthetic_tokenizer import vocabulary, write_tokenizer
from tests.training.models import BERT, read, write
from tests.zoo.vocabularies import byte_pairs_json

TEXTS = ["The music of London is old.", "the rain, the snow, the sun!", "Music and light"]
OTHER = "A king fought: zebras xylophoned at 5 o'clock in paris"
SIZE = 600
CUT = 150


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A BERT with a head for masked words, and the same with fewer pieces."""
    root = tmp_path_factory.mktemp("vocabulary")
    config = {**BERT, "vocab_size": SIZE, "architectures": ["BertForMaskedLM"]}
    synthetic.write_checkpoint(root / "whole", config)
    write_tokenizer(root / "whole", SIZE, token_types=True)
    report = cut_vocabulary(root / "whole", root / "cut", iter(TEXTS), CUT)
    assert report.pieces == (SIZE, CUT)
    assert report.words == 19
    assert report.tokens == (19, 19)
    assert report.unknown == (0, 0)
    assert str(report).startswith("150 of 600 pieces; the texts' 19 words take 19 tokens in the place of 19 (+0.0%)")
    return root / "whole", root / "cut"


def test_what_is_kept(folders: tuple[Path, Path]) -> None:
    """Special tokens, characters, and what the texts use, in the old order; then the lowest numbers."""
    whole, cut = (Tokenizer.from_pretrained(folder) for folder in folders)
    kept = sorted(cut.get_vocab(), key=cut.get_vocab().get)
    entries = vocabulary(SIZE)
    assert kept == [entry for entry in entries if entry in set(kept)]
    assert {entry for entry in entries if len(entry.removeprefix("##")) == 1} <= set(kept)
    assert set(entries[:5]) <= set(kept)
    assert {"music", "london", "the", "light"} <= set(kept)
    assert "king" in whole.get_vocab()
    assert "king" not in kept
    assert cut.special_tokens == whole.special_tokens
    assert (folders[1] / "vocab.txt").read_text().splitlines() == kept


def test_texts_read_the_same(folders: tuple[Path, Path]) -> None:
    """Of the texts that it was cut to: the same pieces, template and types. Of others: none is unknown."""
    whole, cut = (Tokenizer.from_pretrained(folder) for folder in folders)
    for text in TEXTS:
        assert cut(text).tokens() == whole(text).tokens()
    pair, theirs = (t(TEXTS[0], TEXTS[1]) for t in (cut, whole))
    assert pair.tokens() == theirs.tokens()
    assert pair["token_type_ids"] == theirs["token_type_ids"]
    assert "[UNK]" not in cut.tokenize(OTHER)
    assert len(cut.tokenize(OTHER)) > len(whole.tokenize(OTHER))
    assert cut.decode(cut.encode(OTHER), skip_special_tokens=True) == whole.decode(
        whole.encode(OTHER), skip_special_tokens=True
    )


def test_the_model_says_the_same(folders: tuple[Path, Path]) -> None:
    """Hidden states and the scores of the pieces that are left, bit for bit: nothing else was touched."""
    tokenizers = [Tokenizer.from_pretrained(folder) for folder in folders]
    models = [minidistil.AutoModelForMaskedLM.from_pretrained(folder, backend="exact") for folder in folders]
    whole, cut = (
        model(**tokenizer(TEXTS[0], return_tensors="np")).logits
        for model, tokenizer in zip(models, tokenizers, strict=True)
    )
    rows = [
        tokenizers[0].get_vocab()[piece]
        for piece in sorted(tokenizers[1].get_vocab(), key=tokenizers[1].get_vocab().get)
    ]
    np.testing.assert_array_equal(cut.view(np.uint32), whole[..., rows].view(np.uint32))
    config, weights = read(folders[1])
    assert (config.vocab_size, config.pad_token_id) == (CUT, 0)
    assert weights.masked_lm.vocab_projector.weight is weights.encoder.embeddings.word_embeddings
    assert len(named(weights)["masked_lm.vocab_projector.bias"]) == CUT


def test_counts(folders: tuple[Path, Path]) -> None:
    """As the tokenizer itself cuts the texts."""
    tokenizer = Tokenizer.from_pretrained(folders[0])
    words = count_words(tokenizer, TEXTS)
    assert (words["the"], words[","]) == (4, 2)
    counted = np.bincount(
        np.concatenate([tokenizer.encode(t, add_special_tokens=False) for t in TEXTS]), minlength=SIZE
    )
    np.testing.assert_array_equal(count_pieces(tokenizer, words), counted)


def test_padding_gets_its_new_number(tmp_path: Path) -> None:
    """Special tokens need not come first."""
    folder = write(tmp_path / "whole", "DistilBertForMaskedLM")
    entries = vocabulary(320)
    entries = entries[5:300] + entries[:5] + entries[300:]
    (folder / "vocab.txt").write_text("".join(f"{entry}\n" for entry in entries))
    (folder / "tokenizer.json").unlink()
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, "pad_token_id": 295}))
    cut_vocabulary(folder, tmp_path / "cut", TEXTS, 200)
    cut = Tokenizer.from_pretrained(tmp_path / "cut")
    assert cut(TEXTS[0]).tokens() == Tokenizer.from_pretrained(folder)(TEXTS[0]).tokens()
    assert read(tmp_path / "cut")[0].pad_token_id == cut.pad_token_id == cut.get_vocab()["[PAD]"]


def test_places_that_nobody_uses_go_first(tmp_path: Path) -> None:
    """BERT's vocabulary begins with a thousand of them, which no text has either."""
    folder = write(tmp_path / "whole", "DistilBertForMaskedLM")
    entries = vocabulary(320)
    entries = [*entries[:5], *(f"[unused{i}]" for i in range(40)), *entries[5:280]]
    (folder / "vocab.txt").write_text("".join(f"{entry}\n" for entry in entries))
    (folder / "tokenizer.json").unlink()
    kept = choose_pieces(Tokenizer.from_pretrained(folder), {"the": 1}, 280)
    assert [entries[i] for i in kept] == [entry for entry in entries if not entry.startswith("[unused")]
    assert len(choose_pieces(Tokenizer.from_pretrained(folder), {"the": 1}, 281)) == 281


def test_more_than_there_are(folders: tuple[Path, Path]) -> None:
    tokenizer = Tokenizer.from_pretrained(folders[0])
    np.testing.assert_array_equal(choose_pieces(tokenizer, {"the": 1}, 10_000), np.arange(SIZE))


def test_refused(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match=r"a vocabulary of 100 pieces is too small: special tokens and .* are 108"):
        cut_vocabulary(folders[0], tmp_path / "cut", TEXTS, 100)
    folder = write(tmp_path / "pairs", "RobertaForMaskedLM")
    (folder / "tokenizer.json").write_text(json.dumps(byte_pairs_json()))
    with pytest.raises(ValueError, match=r"is cut of WordPiece tokenizers, .*; this is BPE"):
        cut_vocabulary(folder, tmp_path / "cut", TEXTS, 300)
    synthetic.write_checkpoint(tmp_path / "albert", synthetic.ALBERT_SMALL)
    with pytest.raises(ValueError, match=r"are written of distilbert, bert, .*; this one is of albert"):
        cut_vocabulary(tmp_path / "albert", tmp_path / "cut", TEXTS, 300)
    synthetic.write_checkpoint(tmp_path / "small", {**BERT, "vocab_size": 300})
    write_tokenizer(tmp_path / "small", 320, token_types=True)
    with pytest.raises(CheckpointError, match="its tokenizer has 320 tokens, and its embeddings 300"):
        cut_vocabulary(tmp_path / "small", tmp_path / "cut", TEXTS, 200)
    assert not (tmp_path / "cut").exists()


@pytest.mark.parity
def test_transformers_reads_it(folders: tuple[Path, Path]) -> None:
    """The tokenizer and the model: the same numbers."""
    transformers: Any = pytest.importorskip("transformers")
    theirs, own = transformers.AutoTokenizer.from_pretrained(folders[1]), Tokenizer.from_pretrained(folders[1])
    for text in (*TEXTS, OTHER):
        assert theirs(text)["input_ids"] == own(text)["input_ids"]
    guess = transformers.pipeline("fill-mask", str(folders[1]))("the [MASK] of london")
    ours = minidistil.pipeline("fill-mask", folders[1])("the [MASK] of london")
    assert [row["token_str"] for row in guess] == [row["token_str"] for row in ours]
