"""Options that many functions share: all show, take and refuse the same, and a new one is added in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict, get_type_hints

import pytest

import minidistil
from minidistil.model import LoadOptions, Model, divided
from minidistil.pipelines import pipeline
from minidistil.weights import locate, open_checkpoint
from minidistil.weights._hub import fetch
from minidistil.weights.options import HubOptions, Option, spelled_out

HUB = {"revision": None, "cache_dir": None, "local_files_only": False, "token": None}
LOAD = {**HUB, "threads": None, "backend": "engine"}
TAKE_HUB = {
    "locate": locate,
    "open_checkpoint": open_checkpoint,
    "Config.from_pretrained": minidistil.AutoConfig.from_pretrained,
    "Tokenizer.from_pretrained": minidistil.AutoTokenizer.from_pretrained,
}
TAKE_LOAD = {
    "BertModel.from_pretrained": minidistil.BertModel.from_pretrained,
    "AutoModelForMaskedLM.from_pretrained": minidistil.AutoModelForMaskedLM.from_pretrained,
    "load": minidistil.load,
    "SentenceTransformer": minidistil.SentenceTransformer,
    "CrossEncoder": minidistil.CrossEncoder,
}
BOTH = {**dict.fromkeys(TAKE_HUB, HUB), **dict.fromkeys(TAKE_LOAD, LOAD)}


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize("name", BOTH)
def test_every_option_shows(name: str) -> None:
    function, doc = {**TAKE_HUB, **TAKE_LOAD}[name], ({**TAKE_HUB, **TAKE_LOAD}[name]).__doc__
    assert doc is not None
    assert _defaults(function).items() >= BOTH[name].items()
    assert not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
    for option in BOTH[name]:
        assert doc.count(f"    {option}: ") == 1
    assert "**" not in doc


def test_what_a_hub_id_takes_arrives_where_the_hub_is_asked() -> None:
    assert _defaults(fetch) == HUB
    assert _defaults(pipeline).items() >= LOAD.items()
    assert _defaults(Model.from_checkpoint) == {"threads": None, "backend": "engine"}


@pytest.mark.parametrize("name", BOTH)
def test_an_option_that_is_not_there_is_refused_by_what_was_called(name: str, bert_small: Path) -> None:
    with pytest.raises(TypeError) as caught:
        {**TAKE_HUB, **TAKE_LOAD}[name](bert_small, revison="main")
    assert str(caught.value) == f"{name}() has no option 'revison'; it has {', '.join(BOTH[name])}"


def test_options_are_for_the_files_or_for_computing() -> None:
    given: LoadOptions = {"revision": "main", "threads": 2, "token": True}
    assert divided(given) == ({"revision": "main", "token": True}, {"threads": 2})


def test_an_option_is_added_in_one_place() -> None:
    class More(HubOptions, total=False):
        subfolder: Annotated[str, Option("folder of the repository.", "")]

    @spelled_out(More)
    def take(name: str, *, own: int = 1, **options: Any) -> dict[str, Any]:
        """Take.

        Args:
            name: first.
            **options: `More`.
        """
        return options

    assert take("x", subfolder="a") == {"subfolder": "a"}
    assert _defaults(take) == {"own": 1, **HUB, "subfolder": ""}
    assert "            subfolder: folder of the repository.\n" in str(take.__doc__)
    assert get_type_hints(take)["subfolder"] is str
    with pytest.raises(TypeError, match=r"take\(\) has no option 'folder'; it has revision, .*, subfolder$"):
        take("x", folder="a")


def test_undocumented_functions_stay_so() -> None:
    class Own(TypedDict, total=False):
        depth: Annotated[int, Option("how deep.", 3)]

    @spelled_out(Own)
    def take(**options: Any) -> int:
        return int(options.get("depth", 3))

    assert take.__doc__ is None
    assert take(depth=4) == 4
    assert str(inspect.signature(take)) == "(*, depth: int = 3) -> 'int'"
