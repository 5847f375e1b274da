"""JSON that says anything: parsed into trees in which a key may stand twice, mutated, and written again."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple


class Pairs(list):
    """A JSON object as a list of [key, value]; nothing keeps a key from standing twice."""


class Raw(str):
    """Text that is written as it is, whether it is JSON or not."""


class Place(NamedTuple):
    """One element of an array or one pair of an object."""

    container: list
    index: int

    @property
    def value(self) -> Any:
        element = self.container[self.index]
        return element[1] if isinstance(self.container, Pairs) else element

    def put(self, value: Any) -> None:
        if isinstance(self.container, Pairs):
            self.container[self.index] = [self.container[self.index][0], value]
        else:
            self.container[self.index] = value


NUMBERS = (
    0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**32, 2**53 + 1,
    2**63 - 1, 2**63, -(2**63), 2**64 - 1, 2**64, 10**30, 0.0, -0.0, 0.5, 1.0, -1.5, 1e-12, 1e-45, 1e38, 1e39, 1e308,
)  # fmt: skip
STRINGS = (
    "", " ", "0", "1", "null", "\x00", "a\x00b", "\n", "\\", "/", "..", "../outside", "/etc/passwd", "a/b", "%s%n",
    "{}", "\ud800", "\udfff\ud800", "\ufeff", "\u202e\u2066", "é", "e\u0301", "ß", "İ", "ﬁ", "𝔘", "\U0010ffff",
    "👨‍👩‍👧‍👦", "ـ" * 40, "x" * 300, "▁", "##", "Ġ", "[MASK]", "[PAD]", "<s>", "torch.nn.Sigmoid", "builtins.exec",
    "nan", "inf",
)  # fmt: skip
_TEXTS = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "-" + "1" * 400, "1." + "0" * 3000 + "1", "0x10",
    "01", "+1", ".5", "1_000", "'a'", "\"\\ud83d\"", "\"\\u00\"", "\"\t\"", "tru", "", ",", "[,]", "{:}", "/**/1",
    "[" * 500, "[" * 200_000, "{\"a\":" * 200_000, "[" * 900 + "]" * 900, "[" * 50_000 + "]" * 50_000,
    "\"" + "a" * 100_000 + "\"", " " * (9 << 20), "[" + "0," * 1_000_000 + "0]",
)  # fmt: skip


def parse(text: bytes | str) -> Any:
    """The tree of a JSON text."""
    return json.loads(text, object_pairs_hook=lambda pairs: Pairs([key, value] for key, value in pairs))


def dump(tree: Any) -> bytes:
    """A tree as text; surrogates are written as the three bytes that UTF-8 has no place for."""
    pieces: list[str] = []
    _write(tree, pieces)
    return "".join(pieces).encode("utf-8", "surrogatepass")


def _write(tree: Any, pieces: list[str]) -> None:
    if isinstance(tree, Pairs):
        pieces.append("{")
        for i, (key, value) in enumerate(tree):
            pieces += ["," if i else "", key if isinstance(key, Raw) else json.dumps(key), ":"]
            _write(value, pieces)
        pieces.append("}")
    elif isinstance(tree, list):
        pieces.append("[")
        for i, value in enumerate(tree):
            pieces.append("," if i else "")
            _write(value, pieces)
        pieces.append("]")
    else:
        pieces.append(tree if isinstance(tree, Raw) else json.dumps(tree))


def find(tree: Any, *keys: str | int) -> Any:
    """The value that keys and indices lead to; None where nothing is there."""
    for key in keys:
        if isinstance(tree, Pairs):
            tree = next((value for name, value in tree if name == key), None)
        elif isinstance(tree, list) and isinstance(key, int) and key < len(tree):
            tree = tree[key]
        else:
            return None
    return tree


def set_key(tree: Any, key: str, value: Any) -> None:
    """Give an object's key a value, whether it is there or not."""
    for pair in tree:
        if pair[0] == key:
            pair[1] = value
            return
    tree.append([key, value])


def pick(tree: Any, rng: random.Random) -> Place | None:
    """A place in a tree, level by level, so that a vocabulary of thousands does not hide the rest; None in a leaf."""
    place = None
    while isinstance(tree, list) and tree:
        place = Place(tree, rng.randrange(len(tree)))
        tree = place.value
        if rng.random() < 0.3:
            break
    return place


def odd_value(rng: random.Random) -> Any:
    """A value of any type, near a boundary of it."""
    kind = rng.randrange(12)
    if kind < 4:
        return rng.choice(NUMBERS)
    if kind < 7:
        return rng.choice(STRINGS)
    if kind < 9:
        return rng.choice((None, True, False, [], Pairs(), [[]], [None], Pairs([["", None]]), [0] * 40, ["a", "a"]))
    if kind < 11:
        return Raw(rng.choice(_TEXTS))
    return [rng.choice(NUMBERS) for _ in range(rng.randrange(70))]


def mutate(tree: Any, rng: random.Random) -> str:
    """Change a tree in one place; returns what was done, in a few words."""
    place = pick(tree, rng)
    if place is None:
        return "json: nothing to change"
    container, value = place.container, place.value
    change = rng.choice((_replace, _replace, _nudge, _nudge, _swap, _drop, _repeat, _rename, _wrap, _shuffle, _copy))
    name = container[place.index][0] if isinstance(container, Pairs) else place.index
    change(tree, place, rng)
    return f"json: {change.__name__[1:]} {ascii(name)[:40]} (was {ascii(value)[:60]})"


def _replace(tree: Any, place: Place, rng: random.Random) -> None:
    place.put(odd_value(rng))


def _nudge(tree: Any, place: Place, rng: random.Random) -> None:
    value = place.value
    if isinstance(value, bool) or value is None:
        place.put(rng.choice((not value, int(bool(value)), str(value).lower())))
    elif isinstance(value, int):
        others = [float(value), str(value)] if abs(value) < 1 << 1000 else []  # beyond, neither has room for it
        place.put(rng.choice([value + 1, value - 1, -value, value * 2, value // 2, [value], *others]))
    elif isinstance(value, float):
        place.put(rng.choice((-value, value * 2, value // 1, value + 1e-9, str(value))))
    elif isinstance(value, str) and not isinstance(value, Raw):
        at = rng.randrange(len(value) + 1)
        odd = rng.choice(STRINGS)
        place.put(
            rng.choice((value[:at], value.upper(), value[:at] + odd + value[at:], value * 2, value[::-1], f" {value}"))
        )
    else:
        place.put(odd_value(rng))


def _swap(tree: Any, place: Place, rng: random.Random) -> None:
    other = pick(tree, rng)
    assert other is not None
    one, two = place.value, other.value
    if not (_holds(one, other.container) or _holds(two, place.container)):
        place.put(two)
        other.put(one)


def _copy(tree: Any, place: Place, rng: random.Random) -> None:
    other = pick(tree, rng)
    assert other is not None
    place.put(Raw(dump(other.value).decode("utf-8", "surrogatepass")))


def _drop(tree: Any, place: Place, rng: random.Random) -> None:
    del place.container[place.index]


def _repeat(tree: Any, place: Place, rng: random.Random) -> None:
    element = place.container[place.index]
    if isinstance(place.container, Pairs):
        element = [element[0], element[1] if rng.random() < 0.5 else odd_value(rng)]
    times = rng.choice((1, 1, 2, 5, 300))
    place.container[place.index : place.index] = [element] * (times if len(dump(element)) < 10_000 else 1)


def _rename(tree: Any, place: Place, rng: random.Random) -> None:
    if isinstance(place.container, Pairs):
        old, value = place.container[place.index]
        new = rng.choice((old.upper(), f"{old} ", old[:-1], old.replace("_", "-"), f"x{old}", rng.choice(STRINGS)))
        place.container[place.index] = [new, value]
    else:
        _replace(tree, place, rng)


def _wrap(tree: Any, place: Place, rng: random.Random) -> None:
    wrapped = place.value
    for _ in range(rng.choice((1, 1, 2, 40))):
        wrapped = [wrapped] if rng.random() < 0.5 else Pairs([["content", wrapped]])
    place.put(wrapped)


def _shuffle(tree: Any, place: Place, rng: random.Random) -> None:
    rng.shuffle(place.container)


def _holds(value: Any, container: list) -> bool:
    """Whether a value is, or has within it, that very container: putting it there would close a circle."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if one is container:
            return True
        if isinstance(one, list):
            waiting += [pair[1] for pair in one] if isinstance(one, Pairs) else one
    return False
