"""Quantized checkpoints with faults: each by its text, all of a checkpoint at once; and what is never written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidistil.weights import CheckpointError, open_checkpoint, read_model
from minidistil.weights.narrow import MOST_COLUMNS, Int8Linear
from minidistil.weights.writing import write_quantized
from tests import families, synthetic
from tests.weights import files, quantized
from tests.weights.test_faults import all_of, put, remove, spoil

Tensors = dict[str, np.ndarray]
Change = Callable[[dict, Tensors], None]

LAYER = "distilbert.transformer.layer.0"
Q, K, V = (f"{LAYER}.attention.{name}" for name in ("q_lin", "k_lin", "v_lin"))
LIN1 = f"{LAYER}.ffn.lin1"
WORDS = "distilbert.embeddings.word_embeddings"
HERE = "config.json: quantization_config"
LINEARS, TABLES = "config_groups.group_0", "config_groups.group_1"
WEIGHTS = "num_bits = 8, type = 'int', strategy = 'channel', symmetric = True, dynamic = False"
INPUTS = "num_bits = 8, type = 'int', strategy = 'token', symmetric = False, dynamic = True"


def say(path: str, value: Any) -> Change:
    """Another value at a place within quantization_config; of what is below it where there is one already."""

    def change(config: dict, arrays: Tensors) -> None:
        *way, last = path.split(".")
        place = config["quantization_config"]
        for key in way:
            place = place[key]
        place[last] = value

    return change


def forget(path: str) -> Change:
    def change(config: dict, arrays: Tensors) -> None:
        *way, last = path.split(".")
        place = config["quantization_config"]
        for key in way:
            place = place[key]
        del place[last]

    return change


def ignore(*names: str) -> Change:
    return lambda config, arrays: config["quantization_config"]["ignore"].extend(names)


def undeclared(config: dict, arrays: Tensors) -> None:
    del config["quantization_config"]


def floats(name: str) -> Change:
    """A product in float32, its scale gone."""

    def change(config: dict, arrays: Tensors) -> None:
        arrays[f"{name}.weight"] = arrays[f"{name}.weight"] * arrays.pop(f"{name}.weight_scale")

    return change


def smooth(*names: str, first: float = 1.0) -> Change:
    def change(config: dict, arrays: Tensors) -> None:
        for name in names:
            values = np.ones(arrays[f"{name}.weight"].shape[1], np.float32)
            values[0] = first
            arrays[f"{name}.input_smooth"] = values

    return change


SCALE, SMOOTH, KEPT = (f"{LIN1}.{kind}" for kind in ("weight_scale", "input_smooth", "weight_kept"))
FAULTS: dict[str, tuple[Change, list[str]]] = {
    "no object": (lambda config, _: config.update(quantization_config=[8]), [f"{HERE} is no object but [8]"]),
    "another method": (
        say("quant_method", "gptq"),
        [f"{HERE}: quant_method = 'gptq', expected compressed-tensors, the only one whose files are read"],
    ),
    "no method": (forget("quant_method"), [f"{HERE}: quant_method = None, expected compressed-tensors"]),
    "another format": (
        say("format", "pack-quantized"),
        [f"{HERE}: format = 'pack-quantized', expected one of int-quantized"],
    ),
    "no format": (forget("format"), [f"{HERE} lacks format"]),
    "a group's format": (
        say(f"{LINEARS}.format", "naive-quantized"),
        [f"{HERE}: {LINEARS}: format = 'naive-quantized', expected int-quantized"],
    ),
    "not compressed": (
        say("quantization_status", "frozen"),
        ["quantization_status = 'frozen', expected one of compressed"],
    ),
    "no groups": (say("config_groups", {}), [f"{HERE}: config_groups is empty, so nothing is quantized"]),
    "groups by name": (
        say("config_groups", {"W8A8": ["Linear"]}),
        ["config_groups = {'W8A8': ['Linear']}, expected an object whose values are an object"],
    ),
    "no targets": (forget(f"{LINEARS}.targets"), [f"{HERE}: {LINEARS} lacks targets"]),
    "targets": (say(f"{LINEARS}.targets", "Linear"), [f"{HERE}: {LINEARS}: targets = 'Linear', expected a list"]),
    "patterns": (
        all_of(say(f"{LINEARS}.targets", ["re:.*lin.*"]), ignore("re:(a+)+$")),
        [
            f"{HERE}: {LINEARS}.targets has patterns, which are not read (re:.*lin.*): name the modules",
            f"{HERE}: ignore has patterns, which are not read (re:(a+)+$): name the modules",
        ],
    ),
    "four bits": (
        say(f"{LINEARS}.weights.num_bits", 4),
        [f"{HERE}: {LINEARS}.weights say num_bits = 4; expected {WEIGHTS}"],
    ),
    "true bits": (say(f"{TABLES}.weights.num_bits", True), [f"{TABLES}.weights say num_bits = True; expected"]),
    "floats": (say(f"{LINEARS}.weights.type", "float"), [f"{LINEARS}.weights say type = 'float'; expected {WEIGHTS}"]),
    "groups of columns": (
        all_of(say(f"{LINEARS}.weights.strategy", "group"), say(f"{LINEARS}.weights.group_size", 128)),
        [f"{LINEARS}.weights say strategy = 'group', group_size = 128; expected {WEIGHTS}"],
    ),
    "a scale for all": (say(f"{LINEARS}.weights.strategy", None), [f"{LINEARS}.weights say strategy = None; expected"]),
    "blocks": (
        say(f"{LINEARS}.weights.block_structure", [1, 8]),
        [f"{LINEARS}.weights say block_structure = [1, 8]; expected"],
    ),
    "an order of columns": (say(f"{LINEARS}.weights.actorder", "group"), ["weights say actorder = 'group'; expected"]),
    "zero points": (say(f"{LINEARS}.weights.symmetric", False), ["weights say symmetric = False; expected"]),
    "dynamic weights": (say(f"{LINEARS}.weights.dynamic", True), ["weights say dynamic = True; expected"]),
    "what nobody knows": (say(f"{LINEARS}.weights.rotated", 1), ["weights say rotated = 1; expected"]),
    "no weights": (say(f"{LINEARS}.weights", None), [f"{HERE}: {LINEARS}.weights is None, expected {WEIGHTS}"]),
    "symmetric inputs": (
        say(f"{LINEARS}.input_activations.symmetric", True),
        [f"{HERE}: {LINEARS}.input_activations say symmetric = True; expected {INPUTS}"],
    ),
    "static inputs": (
        all_of(
            say(f"{LINEARS}.input_activations.dynamic", False),
            say(f"{LINEARS}.input_activations.strategy", "tensor"),
        ),
        [f"{LINEARS}.input_activations say strategy = 'tensor', dynamic = False; expected {INPUTS}"],
    ),
    "inputs in float32": (
        say(f"{LINEARS}.input_activations", None),
        ["products of groups without input_activations, which are computed with whole numbers (13): ", f"{Q}.weight, "],
    ),
    "outputs": (
        say(f"{LINEARS}.output_activations", {"num_bits": 8}),
        [f"{HERE}: {LINEARS}: output_activations are not supported; expected null"],
    ),
    "kept keys": (
        all_of(
            say("kv_cache_scheme", {"num_bits": 8}),
            say("transform_config", {"R1": 1}),
            say("sparsity_config", {"x": 1}),
        ),
        [
            f"{HERE}: kv_cache_scheme = {{'num_bits': 8}} is not supported; expected none",
            "transform_config = {'R1': 1} is not supported",
            "sparsity_config = {'x': 1} is not supported",
        ],
    ),
    "ignore": (say("ignore", "lm_head"), [f"{HERE}: ignore = 'lm_head', expected a list"]),
    "ignored, not there": (
        ignore("lm_head", f"{LAYER}.ffn"),
        [
            f"{HERE}: ignore names lm_head, which is not in the checkpoint",
            f"{HERE}: ignore names transformer.layer.0.ffn, which is not in the checkpoint",
        ],
    ),
    "aimed at, not there": (
        say(f"{TABLES}.targets", ["Embedding", "decoder"]),
        [f"{HERE}: {TABLES}.targets names decoder, which is not in the checkpoint"],
    ),
    "a newer version": (say("minidistil", {"version": 2}), [f"{HERE}: minidistil.version = 2, expected 1"]),
    "a true version": (say("minidistil", {"version": True}), [f"{HERE}: minidistil.version = True, expected 1"]),
    "no version": (say("minidistil", ["version"]), [f"{HERE}: minidistil.version = None, expected 1"]),
    "nothing said": (
        undeclared,
        [f"tensors stored as I8, and config.json has no quantization_config to say what they are (15): {WORDS[:10]}"],
    ),
    "ignored, but I8": (
        ignore(LIN1),
        [f"tensors stored as I8, but not quantized by config.json's quantization_config (1): {LIN1}.weight"],
    ),
    "tables that nobody aims at": (
        forget(TABLES),
        ["stored as I8, but not quantized by config.json's quantization_config (2): ", f"{WORDS}.weight"],
    ),
    "said, but float32": (
        floats(LIN1),
        [f"int8 by config.json's quantization_config, but stored otherwise (1): {LIN1}.weight (F32)"],
    ),
    "no scale": (remove(SCALE), [f"missing tensors (1): {SCALE}"]),
    "zero": (spoil(SCALE, 0, -0.0), [f"{SCALE} has of 12 values 2 zero; expected numbers above zero"]),
    "negative": (spoil(SCALE, -1), [f"{SCALE} has of 12 values 1 negative; expected numbers above zero"]),
    "NaN": (spoil(SCALE, np.nan, -np.nan), [f"{SCALE} has of 12 values 2 NaN; expected numbers above zero"]),
    "infinite": (
        spoil(f"{WORDS}.weight_scale", np.inf, 1, -np.inf),
        [f"{WORDS}.weight_scale has of 23 values 1 negative, 1 infinite; expected numbers above zero"],
    ),
    "too large": (spoil(SCALE, 3e36), [f"{LIN1}.weight stands for numbers beyond float32, by its weight_scale"]),
    "rounded to zero": (put(SCALE, np.full((12, 1), 1e-60)), [f"{SCALE} has of 12 values 12 zero; expected"]),
    "one scale": (put(SCALE, np.ones(1, "f4")), [f"{SCALE} is [1], expected [12, 1] or [12]"]),
    "scales of columns": (put(SCALE, np.ones((1, 8), "f4")), [f"{SCALE} is [1, 8], expected [12, 1] or [12]"]),
    "scales of groups": (put(SCALE, np.ones((12, 2), "f4")), [f"{SCALE} is [12, 2], expected [12, 1] or [12]"]),
    "a scalar": (put(SCALE, np.float32(1).reshape(())), [f"{SCALE} is [], expected [12, 1] or [12]"]),
    "whole scales": (put(SCALE, np.ones((12, 1), "i4")), [f"{SCALE} is stored as I32; it is read from F64, F32, F16"]),
    "smooth zero": (
        smooth(LIN1, first=0.0),
        [
            f"{SMOOTH} keeps columns in float32 by its zeros (1), and their weights are missing: add {KEPT} [12, 1], "
            "or write numbers above zero"
        ],
    ),
    "smooth NaN": (smooth(LIN1, first=np.nan), [f"{SMOOTH} has of 8 values 1 NaN; expected numbers above zero"]),
    "smooth of rows": (put(SMOOTH, np.ones(12, "f4")), [f"{SMOOTH} is [12], expected [8]"]),
    "smooth of two": (put(SMOOTH, np.ones((8, 1), "f4")), [f"{SMOOTH} is [8, 1], expected [8]"]),
    "smooth of a table": (
        smooth(WORDS),
        [f"tensors that belong to nothing quantized (1): {WORDS}.input_smooth"],
    ),
    "smooth of the tied": (
        put("vocab_projector.input_smooth", np.ones(8, "f4")),
        ["tensors that belong to nothing quantized (1): vocab_projector.input_smooth"],
    ),
    "smooths that differ": (
        all_of(smooth(Q, V), smooth(K, first=2.0)),
        [f"{Q}, {K}, {V} are one product: their input_smooth must be equal, or none be there"],
    ),
    "smooth of one": (
        smooth(K),
        [f"{Q}, {K}, {V} are one product: their input_smooth must be equal, or none be there"],
    ),
    "int8 of one": (
        all_of(floats(Q), floats(V), ignore(Q, V)),
        [f"{Q}, {K}, {V} are one product: all of them int8, or none; int8 are {K}"],
    ),
    "scales of what is float32": (
        all_of(floats(LIN1), ignore(LIN1), put(SCALE, np.ones((12, 1), "f4")), put(SMOOTH, np.ones(8, "f4"))),
        [f"tensors that belong to nothing quantized (2): {SCALE}, {SMOOTH}"],
    ),
    "tensors of another scheme": (
        all_of(
            put(f"{LIN1}.weight_zero_point", np.zeros((12, 1), "i1")),
            put(f"{Q}.weight_g_idx", np.zeros(8, "i4")),
            put("vocab_transform.input_scale", np.ones(1, "f4")),
        ),
        [
            "tensors of another scheme, where there are weight, weight_scale and perhaps input_smooth and weight_kept "
            "(3): ",
            f"{LIN1}.weight_zero_point", f"{Q}.weight_g_idx", "vocab_transform.input_scale",
        ],
    ),
    "scales that are not the table's": (
        put("vocab_projector.weight_scale", np.ones((23, 1), "f4")),
        [f"vocab_projector.weight_scale must be the scales of {WORDS}.weight, which it is tied to"],
    ),
    "a norm": (
        put(f"{LAYER}.sa_layer_norm.weight", np.ones(8, "i1")),
        [f"{LAYER}.sa_layer_norm.weight is stored as I8; weights are read from F64, F32"],
    ),
    "a bias": (put(f"{LIN1}.bias", np.ones(12, "i1")), [f"{LIN1}.bias is stored as I8; weights are read from F64"]),
    "unsigned": (
        put(f"{LIN1}.weight", np.ones((12, 8), "u1")),
        [
            f"int8 by config.json's quantization_config, but stored otherwise (1): {LIN1}.weight (U8)",
            f"{LIN1}.weight is stored as U8; weights are read from F64, F32",
            f"tensors that belong to nothing quantized (1): {SCALE}",
        ],
    ),
    "mis-shaped": (
        put(f"{LIN1}.weight", np.ones((12, 9), "i1")),
        [f"{LIN1}.weight is [12, 9], expected [12, 8] (hidden_dim, dim)"],
    ),
    "of one dimension": (
        put(f"{LIN1}.weight", np.ones(96, "i1")),
        [f"{LIN1}.weight is [96], expected [12, 8] (hidden_dim, dim)"],
    ),
    "everything": (
        all_of(
            say("format", "dense"), say(f"{LINEARS}.input_activations.symmetric", True),
            remove(f"{K}.weight_scale"), spoil(SCALE, 0), smooth(Q, first=np.inf), spoil(f"{LIN1}.bias", np.nan),
            put("vocab_transform.weight_zero_point", np.ones(1, "f4")),
        ),
        [
            "format = 'dense', expected one of int-quantized", "input_activations say symmetric = True",
            f"missing tensors (1): {K}.weight_scale", f"{SCALE} has of 12 values 1 zero",
            f"{Q}.input_smooth has of 8 values 1 infinite", f"{LIN1}.bias (1 of 12 values)",
            "vocab_transform.weight_zero_point", "7 faults",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path: Path, fault: str) -> None:
    check(tmp_path, *FAULTS[fault])


def check(folder: Path, change: Change, messages: list[str]) -> None:
    """Of a small DistilBERT that is changed, these faults are told, and no others."""
    config, arrays = quantized.stored(quantized.write(folder, files.DISTILBERT))
    change(config, arrays)
    faulty = files.write_model(folder / "faulty", config, arrays)
    for precision in (None, "float32", "bfloat16"):  # whatever is made of it
        with pytest.raises(CheckpointError) as error:
            read_model(open_checkpoint(faulty), precision=precision)
        for message in messages:
            assert message in str(error.value)
        others = [said for said in error.value.faults if not any(message in said for message in messages)]
        assert not others, "faults that are none"


def test_one_product_of_mobilebert(tmp_path: Path) -> None:
    """Its values have another input than its queries and keys, and may be smoothed, or float32, by themselves."""
    config, arrays = quantized.stored(quantized.write(tmp_path, families.VARIATIONS["mobilebert"]))
    at = "mobilebert.encoder.layer.0.attention.self"
    smooth(f"{at}.value", first=3.0)(config, arrays)
    found = read_model(open_checkpoint(files.write_model(tmp_path / "values", config, arrays)))
    assert isinstance(found.encoder.layers[0].v_lin, Int8Linear)
    assert found.encoder.layers[0].v_lin.smooth[0] == 3
    smooth(f"{at}.query")(config, arrays)
    with pytest.raises(
        CheckpointError, match=f"{at}.query, {at}.key are one product: their input_smooth must be equal"
    ):
        read_model(open_checkpoint(files.write_model(tmp_path / "queries", config, arrays)))


@pytest.mark.parametrize("K", [MOST_COLUMNS, MOST_COLUMNS + 1])
def test_the_most_columns(tmp_path: Path, K: int) -> None:
    """Sums of more would not fit 32 bits."""
    values = {**files.DISTILBERT_BARE, "hidden_dim": K, "n_layers": 1, "dim": 2, "n_heads": 1}
    made = quantized.in_int8(quantized.source(tmp_path / "source", values))
    if K == MOST_COLUMNS:
        folder = write_quantized(tmp_path / "int8", values, made)
        assert read_model(open_checkpoint(folder)).encoder.layers[0].lin2.codes.shape == (2, K)
        assert 255 * 128 * K < 2**31
        return
    said = "has 65001 columns; 65000 are the most that int8 sums"
    with pytest.raises(ValueError, match=f"layers.0.lin2.weight {said}"):
        write_quantized(tmp_path / "int8", values, made)
    config, arrays = quantized.stored(write_quantized(tmp_path / "two", {**values, "hidden_dim": 2}, _cut(made)))
    config["hidden_dim"] = K
    at = "transformer.layer.0.ffn"
    arrays |= {f"{at}.lin1.weight": made.encoder.layers[0].lin1.codes, f"{at}.lin1.bias": np.zeros(K, np.float32)}
    arrays |= {
        f"{at}.lin1.weight_scale": np.ones(K, np.float32),
        f"{at}.lin2.weight": made.encoder.layers[0].lin2.codes,
    }
    with pytest.raises(CheckpointError, match=f"{at}.lin2.weight {said}"):
        read_model(open_checkpoint(files.write_model(tmp_path / "wide", config, arrays)))


def _cut(weights: Any) -> Any:
    layer = weights.encoder.layers[0]
    one, two = layer.lin1, layer.lin2
    layer = replace(
        layer,
        lin1=replace(one, codes=one.codes[:2], scale=one.scale[:2], bias=one.bias[:2]),
        lin2=replace(two, codes=two.codes[:, :2]),
    )
    return replace(weights, encoder=replace(weights.encoder, layers=(layer,)))


def test_many_names_are_bounded(tmp_path: Path) -> None:
    """A hostile file is refused in a message that somebody can read."""
    config, arrays = quantized.stored(quantized.write(tmp_path, files.DISTILBERT))
    config["quantization_config"]["ignore"] = [f"x{i}" * 100 for i in range(20_000)]
    with pytest.raises(CheckpointError) as error:
        read_model(open_checkpoint(files.write_model(tmp_path / "many", config, arrays)))
    assert len(str(error.value)) < 500_000


class TestWriting:
    def refused(self, folder: Path, weights: Any, values: dict = files.DISTILBERT) -> str:
        with pytest.raises(ValueError, match="weights that cannot be written: ") as error:
            write_quantized(folder / "out", values, weights)
        assert not (folder / "out").exists()
        return str(error.value)

    def test_what_does_not_belong_together(self, tmp_path: Path) -> None:
        """Everything is named at once, and nothing is written."""
        made = quantized.smoothed(quantized.in_int8(quantized.source(tmp_path / "source", files.DISTILBERT)))
        one, two = made.encoder.layers
        smooths: Any = {
            "q_lin": replace(one.q_lin, smooth=None),
            "lin1": replace(one.lin1, scale=one.lin1.scale[:3]),
            "lin2": replace(one.lin2, scale=one.lin2.scale * 0),
            "out_lin": replace(one.out_lin, codes=one.out_lin.codes.astype(np.int16), bias=one.out_lin.bias * np.nan),
        }
        layers = (replace(one, **smooths), replace(two, lin1=replace(two.lin1, smooth=two.lin1.smooth[:5])))
        head = made.masked_lm
        head = replace(head, vocab_projector=replace(head.vocab_projector, codes=head.vocab_projector.codes[::-1]))
        said = self.refused(tmp_path, replace(made, encoder=replace(made.encoder, layers=layers), masked_lm=head))
        for part in (
            "layers.0: q_lin, k_lin, v_lin are one product: all of them int8 with equal smooth, or none",
            "layers.0.lin1.weight_scale is float32 [3], expected float32 [12]",
            "layers.0.lin2.weight_scale has values that are not above zero",
            "layers.0.out_lin.weight is int16 [8, 8], expected float32 [8, 8] (dim, dim)",
            "layers.0.out_lin.bias has 8 of 8 values that are not finite as F32",
            "layers.1.lin1.input_smooth is float32 [5], expected float32 [8]",
            "masked_lm.vocab_projector.weight is not embeddings.word_embeddings.weight, and the configuration says",
        ):
            assert part in said

    def test_heads_in_int8(self, tmp_path: Path) -> None:
        values = {**files.DISTILBERT, "architectures": ["DistilBertForTokenClassification"]}
        made = quantized.in_int8(quantized.source(tmp_path / "source", values))
        said = self.refused(
            tmp_path, replace(made, token_classification=quantized.linear(made.token_classification)), values
        )
        assert "token_classification.output.weight is int8 [2, 8], expected float32 [2, 8] (num_labels, dim)" in said

    def test_layers_that_are_one(self, tmp_path: Path) -> None:
        values = {**synthetic.ALBERT_SMALL, "vocab_size": 300}
        made = quantized.in_int8(quantized.source(tmp_path / "source", values))
        layers = (*made.encoder.layers[:2], replace(made.encoder.layers[2]))
        said = self.refused(tmp_path, replace(made, encoder=replace(made.encoder, layers=layers)), values)
        assert "layers 0 and 2 are one in the configuration, and differ" in said

    def test_what_another_checkpoint_left_is_gone(self, tmp_path: Path) -> None:
        """And what belongs to this one is there, under its name."""
        folder = tmp_path / "int8"
        folder.mkdir()
        for name in (
            "pytorch_model.bin",
            "minidistil-packed.safetensors",
            "minidistil-packed.int8.safetensors",
            "modules.json",
        ):
            (folder / name).write_bytes(b"old")
        made = quantized.in_int8(quantized.source(tmp_path / "source", files.DISTILBERT))
        others = {"README.md": b"# A card\n", "1_Pooling/config.json": b"{}"}
        write_quantized(folder, files.DISTILBERT, made, others, made={"version": 7, "x": 1}, replaces=["modules.json"])
        found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        assert found == ["1_Pooling/config.json", "README.md", "config.json", "model.safetensors"]
        said = json.loads((folder / "config.json").read_text())["quantization_config"]["minidistil"]
        assert said == {"x": 1, "version": 1}

    def test_interrupted_it_is_no_checkpoint(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = quantized.in_int8(quantized.source(tmp_path / "source", files.DISTILBERT))

        def fail(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("minidistil.weights.saving._write_tensors", fail)
        with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
            write_quantized(tmp_path / "out", files.DISTILBERT, made)
        assert list((tmp_path / "out").iterdir()) == []
