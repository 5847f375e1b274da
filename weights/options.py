"""Options that many functions take, declared once: name, type, default and what `help` says of them."""

from __future__ import annotations

import functools
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple, TypedDict, TypeVar, get_args, get_type_hints

from minidistil._keywords import Chooses, Neutral, SameAs, chosen, take_out
from minidistil._options import check_table

Function = TypeVar("Function", bound=Callable[..., Any])


class Option(NamedTuple):
    """What a docstring says of an option, and what it is where nobody gives it."""

    text: str
    default: Any = None


class HubOptions(TypedDict, total=False):
    """How to get the files of a hub id; folders and packages need only the last two."""

    revision: Annotated[str | None, Option("hub branch, tag or commit.")]
    cache_dir: Annotated[
        str | os.PathLike[str] | None,
        Option("where hub files are kept; unset, where HF_HOME and HF_HUB_CACHE say."),
    ]
    local_files_only: Annotated[bool, Option("never open a connection. HF_HUB_OFFLINE=1 does the same.", False)]
    token: Annotated[str | bool | None, Option("hub credentials; unset, those that `hf auth login` stored.")]
    subfolder: Annotated[str | None, Option("the folder below that has the files.")]
    variant: Annotated[str | None, Option('which weights, where there are several: "fp16", model.fp16.safetensors.')]


class _Table:
    """A TypedDict whose values are annotated with `Option` or a rule of _keywords.py, taken apart."""

    _made: ClassVar[dict[type, _Table]] = {}

    @classmethod
    def of(cls, options: type) -> _Table:
        """That of a TypedDict, which is taken apart once."""
        return cls._made.setdefault(options, cls._made.get(options) or cls(options))

    def __init__(self, options: type) -> None:
        # Without names of its own, each table's annotations are read in the module that they were written in.
        hints = get_type_hints(options, globalns={}, include_extras=True)
        self.hints = {name: get_args(hint) for name, hint in hints.items()}
        self.declared = {name: option for name, (_, option) in self.hints.items() if isinstance(option, Option)}
        self.foreign = {name: rule for name, (_, rule) in self.hints.items() if name not in self.declared}

    def translate(self, called: str, given: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
        """Return the known ones of what was given, those that go by another name among them; check the others."""
        kept = {name: value for name, value in given.items() if name in known}
        for name, value in given.items():
            if name in known:
                continue
            rule = self.foreign.get(name)
            while isinstance(rule, SameAs) and rule.name not in known and rule.name in self.foreign:
                rule = self.foreign.get(rule.name)
            if rule is None:
                has = ", ".join(self.declared or sorted(known))
                raise TypeError(f"{called} has no option {name!r}; it has {has}")
            if isinstance(rule, Chooses):
                means = chosen(value, rule) if rule.name in self.declared else None
                if means is not None and kept.get(rule.name) == means:
                    continue
                rule, value = (rule.otherwise, value) if means is None else (SameAs(rule.name), means)
            if isinstance(rule, Neutral):
                take_out(called.removesuffix("()"), name, value, rule)
            elif value is not None and kept.get(rule.name) is None:
                kept[rule.name] = value
            elif value is not None:
                raise TypeError(f"{called} got {name} and {rule.name}, two names of one option")
        return kept


def without_foreign(options: type, called: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given, without the keywords of other libraries; what else there is, is for the caller to check.

    Args:
        options: a TypedDict as for `spelled_out`.
        called: the function that got them.
        given: keywords and their values.

    Raises:
        ValueError: a value that is refused.
    """
    table = _Table.of(options)
    return table.translate(called, given, given.keys() - table.foreign.keys())


def checked_table(options: type, name: str, value: Any) -> dict[str, Any]:
    """Return an option that is itself a table of options, without what is of other libraries in it.

    Args:
        options: a TypedDict as for `spelled_out`.
        name: the option's.
        value: what the caller passed.

    Raises:
        TypeError: no dictionary, or an unknown name in it.
        ValueError: a value that is refused.
    """
    table = _Table.of(options)
    return table.translate(name, check_table(name, value), table.declared.keys())


def spelled_out(options: type) -> Callable[[Function], Function]:
    """Make a function that takes `**options: Unpack[...]` show, and check, every one of them by name.

    Type checkers and editors read the annotation. For `help` and `inspect.signature` the signature gets a keyword for
    each option, and the line `**options: ...` of the docstring, or of a class whose `__init__` takes them, becomes a
    line for each. Keywords of other libraries never reach the function: one that is `Neutral` is checked and dropped,
    one that is the `SameAs` another is called so, of one that `Chooses` an option's value that option gets it. Another
    keyword is a TypeError.

    Args:
        options: a TypedDict whose values are annotated with `Option` or a rule of _keywords.py.
    """
    table = _Table.of(options)
    keywords = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(rule, "default", None), annotation=kind)
        for name, (kind, rule) in table.hints.items()
    ]

    def decorate(function: Function) -> Function:
        if isinstance(function, type):
            function.__init__ = checked(function.__init__)  # type: ignore[misc]
            function.__doc__ = explained(function.__doc__)
            return function
        return checked(function)

    def checked(function: Any) -> Any:
        signature = inspect.signature(function)
        *own, collected = signature.parameters.values()
        names = {parameter.name for parameter in own}
        known = names | table.declared.keys()
        shown = [keyword for keyword in keywords if keyword.name not in names]

        @functools.wraps(function)
        def call(*args: Any, **given: Any) -> Any:
            if not known.issuperset(given):
                given = table.translate(f"{_called(function, args)}()", given, known)
            try:
                return function(*args, **given)
            except TypeError:
                try:
                    signature.bind(*args, **given)
                except TypeError as error:
                    raise TypeError(f"{_called(function, args)}() {error}") from None
                raise

        parameters = sorted([*own, *shown], key=lambda parameter: parameter.kind)
        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {k: v for k, v in function.__annotations__.items() if k != collected.name}
        call.__annotations__ |= {parameter.name: parameter.annotation for parameter in shown}
        call.__doc__ = explained(function.__doc__)
        return call

    def explained(doc: str | None) -> str | None:
        def lines(found: re.Match[str]) -> str:
            each = [f"{found[1]}{name}: {option.text}" for name, option in table.declared.items()]
            if table.foreign:
                each += textwrap.wrap(
                    f"{', '.join(table.foreign)}: names and options of other libraries; docs/migration.md says of each "
                    "whether it is accepted, as it changes nothing here, or refused.",
                    width=118,
                    initial_indent=found[1],
                    subsequent_indent=f"{found[1]}    ",
                )
            return "\n".join(each)

        return None if doc is None else re.sub(r"^( *)\*\*(?:options|others): .*$", lines, doc, flags=re.MULTILINE)

    return decorate


def _called(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """What the caller wrote: the class that was asked, not the one that has the method."""
    name = function.__qualname__
    if "." in name and args:
        owner = args[0] if isinstance(args[0], type) else type(args[0])
        name = f"{owner.__name__}.{function.__name__}"
    return name.removesuffix(".__init__").removesuffix(".__call__")
