"""Options that many functions take, declared once: name, type, default and what `help` says of them."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypedDict, TypeVar, get_args, get_type_hints

Function = TypeVar("Function", bound=Callable[..., Any])


class Option(NamedTuple):
    """What a docstring says of an option, and what it is where nobody gives it."""

    text: str
    default: Any = None


class HubOptions(TypedDict, total=False):
    """How to get the files of a hub id; folders and packages need none of it."""

    revision: Annotated[str | None, Option("hub branch, tag or commit.")]
    cache_dir: Annotated[
        str | os.PathLike[str] | None,
        Option("where hub files are kept; unset, where HF_HOME and HF_HUB_CACHE say."),
    ]
    local_files_only: Annotated[bool, Option("never open a connection. HF_HUB_OFFLINE=1 does the same.", False)]
    token: Annotated[str | bool | None, Option("hub credentials; unset, those that `hf auth login` stored.")]


def spelled_out(options: type) -> Callable[[Function], Function]:
    """Make a function that takes `**options: Unpack[...]` show, and check, every one of them by name.

    Type checkers and editors read the annotation. For `help` and `inspect.signature` the signature gets a keyword for
    each option, and the line `**options: ...` of the docstring, or of a class whose `__init__` takes them, becomes a
    line for each. Another keyword is a TypeError.

    Args:
        options: a TypedDict whose values are annotated with `Option`.
    """
    declared = {name: get_args(hint) for name, hint in get_type_hints(options, include_extras=True).items()}
    keywords = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=kind)
        for name, (kind, option) in declared.items()
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
        known = {parameter.name for parameter in (*own, *keywords)}

        @functools.wraps(function)
        def call(*args: Any, **given: Any) -> Any:
            for name in given.keys() - known:
                raise TypeError(f"{_called(function, args)}() has no option {name!r}; it has {', '.join(declared)}")
            return function(*args, **given)

        call.__signature__ = signature.replace(parameters=[*own, *keywords])  # type: ignore[attr-defined]
        call.__annotations__ = {k: v for k, v in function.__annotations__.items() if k != collected.name}
        call.__annotations__ |= {parameter.name: parameter.annotation for parameter in keywords}
        call.__doc__ = explained(function.__doc__)
        return call

    def explained(doc: str | None) -> str | None:
        def lines(found: re.Match[str]) -> str:
            return "\n".join(f"{found[1]}{name}: {option.text}" for name, (_, option) in declared.items())

        return None if doc is None else re.sub(r"^( *)\*\*options: .*$", lines, doc, flags=re.MULTILINE)

    return decorate


def _called(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """What the caller wrote: the class that was asked, not the one that has the method."""
    owner = args[0] if args and isinstance(args[0], type) else None
    name = f"{owner.__name__}.{function.__name__}" if owner else function.__qualname__
    return name.removesuffix(".__init__")
