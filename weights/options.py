"""Options that many functions take, declared once: name, type, default and what `help` says of them."""

from __future__ import annotations

import functools
import inspect
import os
import re
import textwrap
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypedDict, TypeVar, get_args, get_type_hints

from minidistil._keywords import Neutral, take_out

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


def spelled_out(options: type) -> Callable[[Function], Function]:
    """Make a function that takes `**options: Unpack[...]` show, and check, every one of them by name.

    Type checkers and editors read the annotation. For `help` and `inspect.signature` the signature gets a keyword for
    each option, and the line `**options: ...` of the docstring, or of a class whose `__init__` takes them, becomes a
    line for each. Keywords of other libraries never reach the function: one that is `Neutral` is checked and dropped,
    one that is the `SameAs` another is called so. Another keyword is a TypeError.

    Args:
        options: a TypedDict whose values are annotated with `Option`, `Neutral` or `SameAs`.
    """
    hints = {name: get_args(hint) for name, hint in get_type_hints(options, include_extras=True).items()}
    declared = {name: option for name, (_, option) in hints.items() if isinstance(option, Option)}
    foreign = {name: rule for name, (_, rule) in hints.items() if name not in declared}
    keywords = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(rule, "default", None), annotation=kind)
        for name, (kind, rule) in hints.items()
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
        known = names | declared.keys()
        shown = [keyword for keyword in keywords if keyword.name not in names]

        def translated(args: tuple[Any, ...], given: dict[str, Any]) -> dict[str, Any]:
            kept = {name: value for name, value in given.items() if name in known}
            for name in given.keys() - known:
                rule, called = foreign.get(name), _called(function, args)
                if rule is None:
                    raise TypeError(f"{called}() has no option {name!r}; it has {', '.join(declared or sorted(names))}")
                if isinstance(rule, Neutral):
                    take_out(called, name, given[name], rule)
                elif given[name] is not None and kept.get(rule.name) is None:
                    kept[rule.name] = given[name]
                elif given[name] is not None:
                    raise TypeError(f"{called}() got {name} and {rule.name}, two names of one option")
            return kept

        @functools.wraps(function)
        def call(*args: Any, **given: Any) -> Any:
            if not known.issuperset(given):
                given = translated(args, given)
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
            each = [f"{found[1]}{name}: {option.text}" for name, option in declared.items()]
            if foreign:
                each += textwrap.wrap(
                    f"{', '.join(foreign)}: names and options of other libraries; docs/migration.md says of each "
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
