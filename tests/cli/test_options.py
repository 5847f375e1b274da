"""The commands' options: what several have is one thing, and options that belong together arrive together."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import NamedTuple

import click
import pytest

from minidistil.cli.options import gathered, shared
from tests.cli.support import every_command

# Of one name, but of two kinds: how the scores of windows are pooled, and whether there are windows; which layers a
# student gets, and whether the time of each is told.
DIFFERENT = {"windows", "layers"}


def test_an_option_means_the_same_in_every_command() -> None:
    kinds = defaultdict(set)
    for command in every_command().values():
        for option in command.params:
            if isinstance(option, click.Option) and option.name not in DIFFERENT:
                kind = json.dumps(option.type.to_info_dict(), default=str)
                kinds[option.name].add((tuple(option.opts), kind, option.is_flag, option.envvar))
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}
    assert {"model", "threads", "encoding", "column", "top_k", "output", "as_json"} <= kinds.keys()


@pytest.mark.parametrize(
    ("name", "users"),
    [
        ("column", 12), ("encoding", 8), ("prefix", 7), ("shard", 4), ("threads", 16), ("revision", 20),
        ("precision", 14),
    ],
)  # fmt: skip
def test_shared_options_are_the_same_to_the_letter(name: str, users: int) -> None:
    found = [o for command in every_command().values() for o in command.params if o.name == name]
    assert len(found) == users
    texts = {(option.help or "").partition("[default")[2] for option in found if isinstance(option, click.Option)}
    assert len(texts) == 1


class _Place(NamedTuple):
    town: str
    street: str | None


def test_gathered_options_arrive_as_one_and_show_in_order() -> None:
    seen = []

    @click.command()
    @click.option("--before", default=1)
    @gathered("place", _Place, click.argument("town"), click.option("--street"))
    @shared(click.option("--one", is_flag=True), click.option("--two", is_flag=True))
    def command(place: _Place, **others: object) -> None:
        seen.append((place, others))

    command.main(["York", "--street", "High", "--two"], standalone_mode=False)
    assert seen == [(_Place("York", "High"), {"before": 1, "one": False, "two": True})]
    assert [p.name for p in command.params] == ["before", "town", "street", "one", "two"]
