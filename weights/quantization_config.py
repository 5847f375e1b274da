"""config.json's `quantization_config`, in the words of compressed-tensors 0.20: which tensors are whole numbers.

Source: QuantizationConfig, QuantizationScheme and QuantizationArgs of https://github.com/vllm-project/compressed-tensors.
What is read is what this package computes: weights int8 by channel, inputs uint8 by token, with a zero point, made when
they are there. What else a file may say would change results, and is a fault.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from minidistil.weights.errors import quoted
from minidistil.weights.keys import Key, read_keys

KEY = "quantization_config"
METHOD, FORMAT = "compressed-tensors", "int-quantized"
VERSION = 1
"""Of the entry `minidistil`."""

LINEAR, EMBEDDING = "Linear", "Embedding"
"""The classes of PyTorch that products and tables are; what `targets` and `ignore` may name beside single modules."""

_WHERE = f"config.json: {KEY}"
_WEIGHTS = {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True, "dynamic": False}
_INPUTS = {"num_bits": 8, "type": "int", "strategy": "token", "symmetric": False, "dynamic": True}
# What compressed-tensors takes where a key is not there, or null.
_DEFAULTS: dict[str, Any] = {"num_bits": 8, "type": "int", "strategy": None, "symmetric": True, "dynamic": False}
# Only how the numbers were found, not what they mean.
_OF_MAKING = ("observer", "observer_kwargs", "scale_dtype", "zp_dtype")
_ORDERS = (None, False, "weight", "static")  # of columns, while they were quantized; the file has them as they were
_NOTHING: tuple[Any, ...] = (None, {}, [])
_KEYS = {
    "quant_method": Key(("quant_method",), str, choices=(METHOD,)),
    "format": Key(("format",), str, choices=(FORMAT,)),
    "status": Key(("quantization_status",), str, choices=("compressed",)),
    "groups": Key(("config_groups",), dict, of=(dict,)),
    "ignore": Key(("ignore",), list, [], of=(str,)),
}


@dataclass(frozen=True)
class Group:
    """One of `config_groups`.

    Attributes:
        name: its key.
        targets: names of modules, or of their classes.
        inputs: whether inputs become whole numbers too.
    """

    name: str
    targets: tuple[str, ...]
    inputs: bool


@dataclass(frozen=True)
class Quantization:
    """What a quantization_config says.

    Attributes:
        groups: of modules that are quantized.
        ignore: names of modules, or of their classes, that are not.
        prefix: of the family's names: a bare model's modules may be named with and without.
    """

    groups: tuple[Group, ...]
    ignore: tuple[str, ...]
    prefix: str = ""

    def group_of(self, module: str, kind: str) -> Group | None:
        """The group that a module is in: `module` as it is stored, `kind` LINEAR or EMBEDDING; None where in none."""
        names = {kind, module.removeprefix(self.prefix)}
        if names & {name.removeprefix(self.prefix) for name in self.ignore}:
            return None
        found = (
            group for group in self.groups for target in group.targets if target.removeprefix(self.prefix) in names
        )
        return next(found, None)

    def named(self) -> dict[str, str]:
        """Every module that is named, without prefix -> where; names of classes are left out."""
        said = [("ignore", self.ignore)]
        said += [(f"config_groups.{group.name}.targets", group.targets) for group in self.groups]
        return {self._bare(name): where for where, names in said for name in names if name not in (LINEAR, EMBEDDING)}

    def _bare(self, name: str) -> str:
        return name.removeprefix(self.prefix)


def read_quantization(config: Mapping[str, Any], prefix: str, faults: list[str]) -> Quantization | None:
    """What config.json says of whole numbers in the place of weights; None where nothing, or where it is faulty."""
    said = config.get(KEY)
    if said is None:
        return None
    if not isinstance(said, dict):
        faults.append(f"{_WHERE} is no object but {quoted(repr(said))}")
        return None
    if said.get("quant_method") != METHOD:  # whose keys mean other things
        found = quoted(repr(said.get("quant_method")))
        faults.append(f"{_WHERE}: quant_method = {found}, expected {METHOD}, the only one whose files are read")
        return None
    before = len(faults)
    values = read_keys(_KEYS, said, _WHERE, faults)
    for key in ("kv_cache_scheme", "sparsity_config", "transform_config", "moe_sparsity_config"):
        if said.get(key) not in _NOTHING:
            faults.append(f"{_WHERE}: {key} = {quoted(repr(said[key]))} is not supported; expected none")
    _check_entry(said.get("minidistil"), faults)
    groups = tuple(_group(str(name), group, faults) for name, group in values.get("groups", {}).items())
    if "groups" in values and not groups:
        faults.append(f"{_WHERE}: config_groups is empty, so nothing is quantized")
    ignore = tuple(values.get("ignore", ()))
    _check_names("ignore", ignore, faults)
    return None if len(faults) > before else Quantization(groups, ignore, prefix)


def quantization_config(ignore: Collection[str], made: Mapping[str, Any]) -> dict[str, Any]:
    """The `quantization_config` of a file of ours.

    Args:
        ignore: modules, as they are stored, that are float32.
        made: what `minidistil` says of how it was made; its version is added.
    """
    groups = {
        "group_0": _scheme(LINEAR, _INPUTS),
        "group_1": _scheme(EMBEDDING, None),
    }
    return {
        "quant_method": METHOD,
        "format": FORMAT,
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": sorted(ignore),
        "minidistil": {**made, "version": VERSION},
    }


def _scheme(target: str, inputs: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "targets": [target],
        "weights": dict(_WEIGHTS),
        "input_activations": None if inputs is None else dict(inputs),
        "output_activations": None,
        "format": FORMAT,  # else compressed-tensors takes weights without input_activations for another one
    }


def _group(name: str, group: Mapping[str, Any], faults: list[str]) -> Group:
    where = f"config_groups.{quoted(name)}"
    said = read_keys({"targets": Key(("targets",), list, of=(str,))}, group, f"{_WHERE}: {where}", faults)
    targets = tuple(said.get("targets", ()))
    _check_names(f"{where}.targets", targets, faults)
    if group.get("format") not in (None, FORMAT):
        faults.append(f"{_WHERE}: {where}: format = {quoted(repr(group['format']))}, expected {FORMAT}")
    if group.get("output_activations") is not None:
        faults.append(f"{_WHERE}: {where}: output_activations are not supported; expected null")
    _check_args(f"{where}.weights", group.get("weights"), _WEIGHTS, faults)
    if group.get("input_activations") is not None:
        _check_args(f"{where}.input_activations", group["input_activations"], _INPUTS, faults)
    return Group(name, targets, group.get("input_activations") is not None)


def _check_args(where: str, args: Any, expected: Mapping[str, Any], faults: list[str]) -> None:
    """QuantizationArgs against those that are computed."""
    if not isinstance(args, dict):
        faults.append(f"{_WHERE}: {where} is {quoted(repr(args))}, expected {_spelled(expected)}")
        return
    found = {key: args.get(key) if args.get(key) is not None else default for key, default in _DEFAULTS.items()}
    if found["strategy"] is None and args.get("group_size") == -1:
        found["strategy"] = "channel"
    wrong = {key: value for key, value in found.items() if not _same(value, expected[key])}
    if args.get("group_size") not in (None, -1):
        wrong["group_size"] = args["group_size"]
    if args.get("block_structure") is not None:
        wrong["block_structure"] = args["block_structure"]
    if not any(_same(args.get("actorder"), order) for order in _ORDERS):
        wrong["actorder"] = args["actorder"]
    wrong |= {key: args[key] for key in args if key not in (*_DEFAULTS, *_OF_MAKING, *_PLACED)}
    if wrong:
        faults.append(f"{_WHERE}: {where} say {_spelled(wrong)}; expected {_spelled(expected)}")


_PLACED = ("group_size", "block_structure", "actorder")


def _same(found: Any, expected: Any) -> bool:
    """Whether two values of JSON are one; true is not 1."""
    return type(found) is type(expected) and found == expected


def _check_names(where: str, names: Collection[str], faults: list[str]) -> None:
    patterns = [name for name in names if name.startswith("re:")]
    if patterns:
        shown = ", ".join(map(quoted, patterns))
        faults.append(f"{_WHERE}: {where} has patterns, which are not read ({shown}): name the modules")


def _check_entry(entry: Any, faults: list[str]) -> None:
    """The entry `minidistil`, of which only the version says how to read the file."""
    if entry is None:
        return
    version = entry.get("version") if isinstance(entry, dict) else None
    if not _same(version, VERSION):
        faults.append(
            f"{_WHERE}: minidistil.version = {quoted(repr(version))}, expected {VERSION}: of a newer version?"
        )


def _spelled(args: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {quoted(repr(value))}" for key, value in args.items())
