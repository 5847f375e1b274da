"""Checkpoints that training writes: the names and files of the family, every bit, whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.tokenization import Tokenizer
from minidistil.training import writing
from minidistil.training.writing import write_checkpoint
from minidistil.weights import CheckpointError, open_checkpoint
from minidistil.weights.named import named
from tests import synthetic
from tests.training.models import HEADS, LABELS, TASKS, config_of, read, write

TEXTS = ["a good film", "the music of london is old, and bad"]


def _bits(checkpoint: Any) -> dict[str, bytes]:
    return {name: checkpoint.read(name).tobytes() for name in checkpoint.names}


@pytest.mark.parametrize("name", HEADS)
def test_written_as_it_was_read(tmp_path: Path, name: str) -> None:
    """The tensors have the names that transformers saves, and the bits that were read."""
    config, weights = read(write(tmp_path / "source", name))
    made = write_checkpoint(tmp_path / "made", config, weights)
    stored = open_checkpoint(made)
    assert set(stored.names) == set(synthetic.tensor_shapes(config_of(name)))
    assert _bits(stored) == _bits(open_checkpoint(tmp_path / "source"))
    again_config, again = read(made)
    assert again_config.architectures == (name,)
    assert {n: x.tobytes() for n, x in named(again).items()} == {n: x.tobytes() for n, x in named(weights).items()}
    if not name.endswith("MaskedLM"):
        assert tuple(again_config.id2label.values()) == LABELS


@pytest.mark.parametrize("name", HEADS)
def test_float16_is_the_nearest(tmp_path: Path, name: str) -> None:
    """Half the space; what is read back is every number rounded once."""
    config, weights = read(write(tmp_path / "source", name))
    made = write_checkpoint(tmp_path / "made", config, weights, element_type="F16")
    stored = open_checkpoint(made)
    assert {stored.stored(n)[0] for n in stored.names} == {"F16"}
    _, again = read(made)
    for parameter, array in named(weights).items():
        np.testing.assert_array_equal(named(again)[parameter], array.astype(np.float16).astype(np.float32))


def test_two_heads_in_one_file(tmp_path: Path) -> None:
    """One for labels and one for masked words, each found by who asks for it."""
    config, weights = read(write(tmp_path / "labels", "DistilBertForSequenceClassification"))
    _, masked = read(write(tmp_path / "words", "DistilBertForMaskedLM"))
    projector = replace(masked.masked_lm.vocab_projector, weight=weights.encoder.embeddings.word_embeddings)
    both = replace(weights, masked_lm=replace(masked.masked_lm, vocab_projector=projector))
    made = write_checkpoint(tmp_path / "made", config, both, tokenizer=Tokenizer.from_pretrained(tmp_path / "labels"))
    assert read(made)[0].architectures == ("DistilBertForSequenceClassification", "DistilBertForMaskedLM")
    assert minidistil.pipeline("text-classification", made, backend="exact")(TEXTS[0])[0]["label"] in LABELS
    assert len(minidistil.pipeline("fill-mask", made, backend="exact")("a [MASK] film")) == 5


def test_the_trained_pooler_is_written(tmp_path: Path) -> None:
    """BERT's pooler is its classifier's first product: the one that was trained."""
    config, weights = read(write(tmp_path / "source", "BertForSequenceClassification"))
    head = weights.sequence_classification
    trained = replace(head, dense=replace(head.dense, bias=head.dense.bias + 1))
    made = write_checkpoint(tmp_path / "made", config, replace(weights, sequence_classification=trained))
    np.testing.assert_array_equal(read(made)[1].pooler.bias, trained.dense.bias)


def test_a_distilbert_gets_distilberts_tokenizer(tmp_path: Path) -> None:
    """It has no token types, and BERT's tokenizer gives them."""
    teacher = Tokenizer.from_pretrained(write(tmp_path / "teacher", "BertForMaskedLM"))
    config, weights = read(write(tmp_path / "source", "DistilBertForMaskedLM"))
    made = write_checkpoint(tmp_path / "made", config, weights, tokenizer=teacher, card="# A card\n")
    own = Tokenizer.from_pretrained(made)
    assert own(TEXTS, return_token_type_ids=False).data == teacher(TEXTS, return_token_type_ids=False).data
    assert own.model_input_names == ["input_ids", "attention_mask"]
    settings = json.loads((made / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "DistilBertTokenizer"
    assert settings["model_input_names"] == own.model_input_names
    assert (made / "README.md").read_text() == "# A card\n"


def test_what_another_checkpoint_left_is_gone(tmp_path: Path) -> None:
    folder = write(tmp_path / "made", "BertForMaskedLM")
    for name in ("pytorch_model.bin", "modules.json", "minidistil-packed.safetensors"):
        (folder / name).write_bytes(b"old")
    config, weights = read(write(tmp_path / "source", "DistilBertForMaskedLM"))
    write_checkpoint(folder, config, weights)
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_interrupted_it_is_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, at any file: what was there before is whole, or there is nothing that can be loaded."""
    folder = write(tmp_path / "made", "DistilBertForMaskedLM", seed=1)
    config, weights = read(write(tmp_path / "source", "DistilBertForMaskedLM"))
    before = _bits(open_checkpoint(folder))

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minidistil.weights.saving._write", fail)
    with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
        write_checkpoint(folder, config, weights)
    assert _bits(open_checkpoint(folder)) == before


def test_faults_are_named_together(tmp_path: Path) -> None:
    config, weights = read(write(tmp_path / "source", "DistilBertForSequenceClassification"))
    words = weights.encoder.embeddings.word_embeddings.copy()
    words[3, 4] = np.nan
    head = weights.sequence_classification
    broken = replace(
        weights,
        encoder=replace(
            weights.encoder,
            embeddings=replace(weights.encoder.embeddings, word_embeddings=words),
            layers=weights.encoder.layers[:3],
        ),
        sequence_classification=replace(head, dense=None, output=replace(head.output, bias=np.zeros(2, np.float32))),
    )
    with pytest.raises(ValueError) as caught:
        write_checkpoint(tmp_path / "made", config, broken)
    said = str(caught.value)
    assert "3 layers, where the configuration has 4" in said
    assert "sequence_classification.dense.weight is missing" in said
    assert "embeddings.word_embeddings.weight has 1 of 10240 values that are not finite as F32" in said
    assert "sequence_classification.output.bias is float32 [2], expected float32 [3] (num_labels)" in said
    assert not (tmp_path / "made").exists()


def test_what_float16_cannot_hold(tmp_path: Path) -> None:
    config, weights = read(write(tmp_path / "source", "DistilBertForMaskedLM"))
    norm = weights.masked_lm.vocab_layer_norm
    large = replace(weights.masked_lm, vocab_layer_norm=replace(norm, bias=norm.bias + np.float32(7e4)))
    with pytest.raises(ValueError, match=r"masked_lm.vocab_layer_norm.bias has 32 of 32 values .* finite as F16"):
        write_checkpoint(tmp_path / "made", config, replace(weights, masked_lm=large), element_type="F16")


def test_untied_by_mistake(tmp_path: Path) -> None:
    config, weights = read(write(tmp_path / "source", "DistilBertForMaskedLM"))
    projector = weights.masked_lm.vocab_projector
    other = replace(weights.masked_lm, vocab_projector=replace(projector, weight=projector.weight * 2))
    with pytest.raises(ValueError, match="the configuration says that they are tied"):
        write_checkpoint(tmp_path / "made", config, replace(weights, masked_lm=other))
    raw = {**config.raw, "tie_word_embeddings": False}
    made = write_checkpoint(tmp_path / "made", raw, replace(weights, masked_lm=other))
    np.testing.assert_array_equal(read(made)[1].masked_lm.vocab_projector.weight, projector.weight * 2)


def test_refused(tmp_path: Path) -> None:
    synthetic.write_checkpoint(tmp_path / "source", synthetic.ALBERT_SMALL)
    config, weights = read(tmp_path / "source")
    with pytest.raises(ValueError, match=r"are written of distilbert, bert, roberta, .*; this one is of 'albert'"):
        write_checkpoint(tmp_path / "made", config, weights)
    with pytest.raises(ValueError, match="element_type must be one of F32, F16, got 'BF16'"):
        write_checkpoint(tmp_path / "made", config, weights, element_type="BF16")  # type: ignore[arg-type]


@pytest.mark.parity
@pytest.mark.parametrize("element_type", ["F32", "F16"])
@pytest.mark.parametrize("name", HEADS)
def test_transformers_reads_it(tmp_path: Path, name: str, element_type: writing.ElementType) -> None:
    """Nothing missing, nothing left over, in float32, and the same bits of every parameter."""
    transformers: Any = pytest.importorskip("transformers")
    config, weights = read(write(tmp_path / "source", name))
    made = write_checkpoint(tmp_path / "made", config, weights, element_type=element_type)
    model, info = getattr(transformers, name).from_pretrained(made, output_loading_info=True)
    assert {key: list(value) for key, value in info.items() if value} == {}
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    stored = open_checkpoint(made)
    for key in stored.names:
        assert state[key].dtype == np.float32
        np.testing.assert_array_equal(state[key].view(np.uint32), stored.read(key).view(np.uint32))
    if name.partition("For")[2] != "MaskedLM":
        assert tuple(model.config.id2label.values()) == LABELS


@pytest.mark.parity
def test_transformers_pipeline_takes_it(tmp_path: Path) -> None:
    """Model and tokenizer of a DistilBERT made from a BERT, used as people use them; the same labels, near scores."""
    transformers: Any = pytest.importorskip("transformers")
    teacher = Tokenizer.from_pretrained(write(tmp_path / "teacher", "BertForMaskedLM"))
    config, weights = read(write(tmp_path / "source", "DistilBertForSequenceClassification"))
    made = write_checkpoint(tmp_path / "made", config, weights, tokenizer=teacher, element_type="F16")
    theirs = transformers.pipeline("text-classification", str(made))(TEXTS)
    ours = minidistil.pipeline("text-classification", made)(TEXTS)
    assert [row["label"] for row in ours] == [row["label"] for row in theirs]
    np.testing.assert_allclose([row["score"] for row in ours], [row["score"] for row in theirs], rtol=1e-5)


def test_every_trained_head_is_written() -> None:
    from minidistil.backends.learning import Task

    assert set(TASKS.values()) == set(Task.__args__)  # type: ignore[attr-defined]
