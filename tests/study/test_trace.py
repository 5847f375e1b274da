"""Every intermediate has its name and the model's bits, in every family and head; and one can be changed."""

from __future__ import annotations

import numpy as np
import pytest

from minidistil.backends.reference import Reference, exact
from minidistil.models.inputs import pack_sentences
from minidistil.study.recorder import Recording
from minidistil.study.tracing import trace
from minidistil.weights import Checkpoint, read_model
from minidistil.weights.config import Config
from tests.bits import assert_same_bits, differ
from tests.families import VARIATIONS, sentence
from tests.heads import HEADS, Head
from tests.study.conftest import KINDS, MASKED_LM, TEXT, class_name
from tests.synthetic import write_checkpoint

CLASSIFIER = next(head for head in HEADS if head.name == "BertForSequenceClassification")


def called(model, key):
    inputs = model.tokenizer(TEXT, return_tensors="np")
    if class_name(key).endswith("MultipleChoice"):
        inputs = {name: value[:, None] for name, value in inputs.items()}
    return model(**inputs, output_hidden_states=True, output_attentions=True)


@pytest.mark.parametrize("backend", ["engine", "exact"])
@pytest.mark.parametrize("key", KINDS, ids=class_name)
def test_every_family_and_head_has_the_bits_of_the_engine(load, key, backend):
    output = called(load(key, backend="engine", threads=1), key)
    found = trace(load(key, backend=backend, threads=1), TEXT)
    states = found.hidden_states
    assert len(states) == len(output.hidden_states)
    for name, state in zip(states, output.hidden_states, strict=True):
        assert_same_bits(found[name], state[0], name)
    for i, layer in enumerate(output.attentions):
        assert_same_bits(found[f"layer.{i}.attention.probabilities"], layer[0], f"layer {i}")
    if "logits" in output:
        assert_same_bits(found["logits"].reshape(-1), output.logits.reshape(-1), "logits")
    elif "start_logits" in output:
        assert_same_bits(found["logits"], np.stack([output.start_logits[0], output.end_logits[0]], axis=1), "span")
    elif output.get("pooler_output") is not None:
        assert_same_bits(found["pooler.tanh"], output.pooler_output, "pooler")
    else:
        assert "logits" not in found


@pytest.mark.parametrize("name", VARIATIONS)
def test_every_variation_is_recorded_whole_and_changes_nothing(name, tmp_path):
    folder = write_checkpoint(tmp_path, VARIATIONS[name])
    config, weights = Config.from_pretrained(folder), read_model(Checkpoint(folder))
    batch = one_sentence(config, VARIATIONS[name])
    recording = Recording(weights)
    watched = Reference(config, recording.weights, recording)
    plain = Reference(config, weights, exact)
    assert_same_bits(watched.encode(batch).last, plain.encode(batch).last, name)
    attended = [made for made in recording.made.values() if made.kind == "context"]
    assert len(attended) == config.n_layers
    for made in recording.made.values():
        assert all(of in recording.values for of in made.of), made
    sums = [name for name, made in recording.made.items() if made.kind == "sum"]
    assert len(sums) >= 1 + 2 * config.n_layers
    for name in sums:
        total = recording.values[recording.made[name].of[0]]
        for of in recording.made[name].of[1:]:
            total = total + recording.values[of]
        assert_same_bits(recording.values[name], total, name)


def one_sentence(config, values):
    ids, types = sentence(values, 7)
    return pack_sentences(config, [ids.reshape(-1)], None if types is None else types.reshape(-1))


def test_names_and_shapes_are_the_checkpoints(load):
    found = trace(load(MASKED_LM[0], threads=1), TEXT)
    config, n = found.model.config, found.batch.tokens
    own = ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.scores", "attention.probabilities"]
    own += ["attention.context", "attention.out_lin", "attention.sum", "sa_layer_norm", "ffn.lin1"]
    own += [f"ffn.{config.activation}", "ffn.lin2", "ffn.sum", "output_layer_norm"]
    names = ["embeddings.word", "embeddings.position", "embeddings.sum", "embeddings.layer_norm"]
    names += [f"layer.{i}.{name}" for i in range(config.n_layers) for name in own]
    names += ["masked_lm.vocab_transform", f"masked_lm.{config.activation}", "masked_lm.vocab_layer_norm", "logits"]
    assert list(found) == names
    assert found.shapes["layer.1.attention.scores"] == (config.n_heads, n, n)
    assert found.shapes["layer.0.ffn.lin1"] == (n, config.hidden_dim)
    assert found.shapes["logits"] == (n, config.vocab_size)
    assert "masked_lm.vocab_projector" in found.describe("logits")
    for name in found:
        assert found.describe(name).startswith(f"{name} {list(found[name].shape)}: ")
        with pytest.raises(ValueError):
            found[name][...] = 0
    with pytest.raises(KeyError, match=r"layer\.1\.sa_layer_norm"):
        found["layer.1.sa_layernorm"]


@pytest.mark.parametrize("key", [MASKED_LM[0], MASKED_LM[5], MASKED_LM[7], CLASSIFIER], ids=class_name)
def test_what_stands_there_put_in_its_place_changes_no_bit(load, key):
    found = trace(load(key, threads=1), TEXT)
    for name in found:
        if name.endswith("probabilities"):
            continue  # the reference multiplies the values first and divides by the sum then
        again = found.patched({name: found[name]})
        assert list(again) == list(found)
        assert again.made[name].patched
        for other in found:
            assert_same_bits(again[other], found[other], f"{other} after {name}")


@pytest.mark.parametrize("key", [MASKED_LM[0], MASKED_LM[5], MASKED_LM[7], CLASSIFIER], ids=class_name)
def test_a_change_moves_what_comes_after_it_and_nothing_before(load, key):
    model = load(key, threads=1)
    found = trace(model, TEXT)
    names = list(found)
    for at, name in enumerate(names):
        changed = found.patched({name: lambda x: x[..., ::-1] * np.float32(0.5)})
        assert differ(changed["logits"], found["logits"]).any(), name
        for before in names[:at]:
            assert_same_bits(changed[before], found[before], before)
        fresh = trace(model, TEXT, patch={name: changed[name]})
        for other in names:
            assert_same_bits(fresh[other], changed[other], f"{other} after {name}")


def test_probabilities_in_the_place_of_others_mix_the_values(load):
    found = trace(load(MASKED_LM[0], threads=1), TEXT)
    n, (heads, _, _) = found.batch.tokens, found["layer.0.attention.probabilities"].shape
    at = np.zeros((heads, n, n), np.float32)
    at[:, :, 2] = 1
    changed = found.patched({"layer.0.attention.probabilities": at})
    values = found["layer.0.attention.v_lin"]
    assert_same_bits(changed["layer.0.attention.context"], np.tile(values[2], (n, 1)), "context")


def test_patches_are_checked(load):
    found = trace(load(CLASSIFIER, threads=1), TEXT)
    with pytest.raises(KeyError, match=r"no 'layer\.9\.ffn\.lin1'"):
        found.patched({"layer.9.ffn.lin1": 0})
    with pytest.raises(KeyError, match=r"no 'layer\.9\.ffn\.lin1'"):
        trace(found.model, TEXT, patch={"layer.9.ffn.lin1": np.zeros(3)})
    with pytest.raises(ValueError, match=r"must have its shape \[1, 128\], got \[128\]"):
        found.patched({"sequence_classification.dense": np.zeros(128)})
    with pytest.raises(TypeError, match="must be floats"):
        found.patched({"sequence_classification.dense": "nothing"})


def test_texts_are_limited_as_the_model_limits_them(load):
    model = load(CLASSIFIER, threads=1)
    with pytest.raises(ValueError, match=r"has \d+ tokens, and at most \d+ are possible"):
        trace(model, "word " * 600)
    with pytest.raises(TypeError, match="text must be a str, got int"):
        trace(model, 3)
    with pytest.raises(TypeError, match="expected a model"):
        trace("model", TEXT)
    pair = trace(model, "one", "two")
    assert pair.encoding.type_ids[-1] == 1
    assert trace(model, "one").batch.tokens < pair.batch.tokens


def test_a_sentence_encoder_is_seen_through_to_its_model(load):
    encoder = load("Bert", threads=1).sentence_encoder
    assert_same_bits(trace(encoder, TEXT)["pooler.tanh"], trace(encoder.model, TEXT)["pooler.tanh"], "pooler")


def test_weights_in_memory_are_taken_from_the_reference_and_missed_in_the_engine(load, folder_of):
    head: Head = MASKED_LM[0]
    model = load(head, backend="exact")
    config, weights = model.config, model._backend.weights
    kinds = {backend: type(model)(config, weights, backend=backend, threads=1) for backend in ("engine", "exact")}
    for made in kinds.values():
        made.tokenizer = model.tokenizer
    assert_same_bits(trace(kinds["exact"], TEXT)["logits"], trace(model, TEXT)["logits"], "logits")
    with pytest.raises(ValueError, match='backend="exact"'):
        trace(kinds["engine"], TEXT)
