"""config.json through a family's table of keys: canonical names, checked values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from minidistil.weights import keys, limits
from minidistil.weights.errors import CheckpointError, quoted
from minidistil.weights.families import ACTIVATIONS, COMPUTED_AS, FAMILIES, Family
from minidistil.weights.keys import read_keys


def family_of(config: Mapping[str, Any], faults: list[str]) -> Family | None:
    """The family of a config.json; where there is none, a fault that names those supported."""
    model_type = config.get("model_type")
    if isinstance(model_type, str) and model_type in FAMILIES:
        return FAMILIES[model_type]
    found = "has no model_type" if model_type is None else f"model_type {quoted(str(model_type))} is not supported"
    faults.append(f"config.json: {found}; supported are {', '.join(sorted(FAMILIES))}")
    return None


def parse(family: Family, config: Mapping[str, Any], faults: list[str]) -> dict[str, Any]:
    """Canonical name -> value, for every key of the family's table that has a valid one; the others become faults."""
    values = {**family.fixed, **read_keys(family.keys, config, "config.json", faults)}
    for name in {"activation", *family.head_activations.values()} & values.keys():
        values[name] = COMPUTED_AS.get(values[name], values[name])
    if "dim" in values:
        values.setdefault("embedding_size", values["dim"])
        if not values.get("bottleneck", "attention_size" in values):
            values["attention_size"] = values["dim"]
    _cross_checks(family, config, values, faults)
    if "n_layers" in values:
        values["n_layers"] *= values.get("group_layers", 1)
    return values


def stored_layers(values: Mapping[str, Any]) -> int | None:
    """How many layers are stored: all L, or those of the groups that they share; None where config.json is faulty."""
    if "n_groups" in values and "group_layers" in values:
        return values["n_groups"] * values["group_layers"]
    return values.get("n_layers")


def layer_order(values: Mapping[str, Any]) -> list[int]:
    """Which stored layer each of the L layers is."""
    groups, within = values.get("n_groups"), values.get("group_layers", 1)
    if groups is None:
        return list(range(values["n_layers"]))
    runs = values["n_layers"] // within
    return [int(i / (runs / groups)) * within + j for i in range(runs) for j in range(within)]  # as transformers rounds


def labels(config: Mapping[str, Any], faults: list[str]) -> dict[int, str]:
    """id2label with numbers for keys, in their order; without one, LABEL_0 to LABEL_{num_labels - 1}.

    Labels that are numbers become texts. Classes may lack one: `unlabelled` finds them, for heads that need them all.
    """
    found = config.get("id2label")
    if found is None:
        count = config.get("num_labels", 2)
        if type(count) is not int or not 0 < count <= limits.LABELS:
            expected = f"a whole number of at least 1, {limits.LABELS} at most"
            faults.append(f"config.json: num_labels = {quoted(repr(count))}, expected {expected}")
            return {}
        return {number: f"LABEL_{number}" for number in range(count)}
    try:
        numbered = {int(number): label for number, label in found.items()}
    except (AttributeError, TypeError, ValueError):
        faults.append("config.json: id2label is no table from class numbers to labels")
        return {}
    if min(numbered, default=0) < 0 or not all(type(x) in (str, int, float, bool) for x in numbered.values()):
        faults.append("config.json: id2label is no table from class numbers to labels")
        return {}
    return {number: str(label) for number, label in sorted(numbered.items())}


def unlabelled(id2label: Mapping[int, str]) -> list[int]:
    """The classes without a label, of as many classes as there are labels."""
    return [number for number in range(len(id2label)) if number not in id2label]


def architectures(config: Mapping[str, Any]) -> list[str]:
    """The names of classes that saved the checkpoint; what is none is left out."""
    names = config.get("architectures")
    return [name for name in names if isinstance(name, str)] if isinstance(names, (list, tuple)) else []


def refuse_own_code(content: Mapping[str, Any], where: str | os.PathLike[str]) -> None:
    """Refuse a file of a checkpoint that asks for code of its own, where a caller wants it to be run.

    Raises:
        CheckpointError: it does.
    """
    own = content.get("auto_map")
    if own:
        raise CheckpointError(
            os.fspath(where),
            f"asks for code of its own (auto_map: {quoted(str(own))}), and minidistil runs none; leave "
            "trust_remote_code out to read it without",
        )


def key_name(family: Family, canonical: str, config: Mapping[str, Any]) -> str:
    """The key under which this config.json has a value: the family's own or an alias."""
    return keys.key_name(family.keys[canonical], config)


def _cross_checks(family: Family, config: Mapping[str, Any], values: dict[str, Any], faults: list[str]) -> None:
    if "attention_size" in values and "n_heads" in values and values["attention_size"] % values["n_heads"]:
        own = "attention_size" in family.keys and values["attention_size"] != values.get("dim")
        size, heads = key_name(family, "attention_size" if own else "dim", config), key_name(family, "n_heads", config)
        faults.append(f"config.json: {heads} = {values['n_heads']} does not divide {size} = {values['attention_size']}")
    wide_queries = not values.get("attends_to_input", True) and not values.get("attention_bottleneck", True)
    if wide_queries and "dim" in values and values.get("attention_size", values["dim"]) != values["dim"]:
        faults.append(
            f"config.json: intra_bottleneck_size = {values['attention_size']} must be hidden_size = {values['dim']} "
            "where both use_bottleneck_attention and key_query_shared_bottleneck are false"
        )
    if "activation" in values and values["activation"] not in ACTIVATIONS:
        name = key_name(family, "activation", config)
        found = quoted(values["activation"])
        faults.append(f"config.json: {name} = {found} is unknown; known are {', '.join(ACTIVATIONS)}")
    padding, positions = values.get("pad_token_id", 0), values.get("max_position_embeddings", keys.MOST + 2)
    if family.positions_skip_padding and padding + 1 >= positions:
        name = key_name(family, "max_position_embeddings", config)
        faults.append(f"config.json: positions begin after pad_token_id = {padding}, and {name} = {positions}")
    for name, accepted in family.only.items():
        if config.get(name) is not None and config[name] not in accepted:
            choices = ", ".join(map(str, accepted))
            faults.append(f"config.json: {name} = {quoted(str(config[name]))} is not supported; expected {choices}")
