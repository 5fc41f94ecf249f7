"""What is asked of libraries: one line for each way through one of them."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from properties.basics.errors import QuestionError
from properties.survey import libraries


@dataclass(frozen=True)
class Line:
    """One way through a library.

    library: the package by which it is installed; path: what is asked, as its users know it; target,
    family: as `check` takes them; given: texts of values for its constructor, as --with takes them;
    needs: other modules that have to be there; environment: variables that are set before it is
    imported.
    """

    library: str
    path: str
    target: str
    family: str | None = None
    given: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """The package or modules that are not there."""
        absent = [name for name in self.needs if find_spec(name) is None]
        return absent if installed(self.library) else [self.library, *absent]

    @property
    def name(self) -> str:
        """The library and the path."""
        return f"{self.library}: {self.path}"


def installed(package: str) -> str:
    """The version of a package; "" where it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@cache
def lines() -> tuple[Line, ...]:
    """Every line, in the order of the libraries' files."""
    found = pkgutil.iter_modules(libraries.__path__)
    modules = [import_module(f"{libraries.__name__}.{each.name}") for each in found]
    return tuple(line for module in modules for line in module.LINES)


def chosen(only: Sequence[str] | None) -> Iterator[Line]:
    """The lines of these libraries; QuestionError for one that no line is of."""
    known = dict.fromkeys(line.library for line in lines())
    for name in only or ():
        if name not in known:
            near = get_close_matches(name, list(known), n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise QuestionError(
                f"The survey has no library {name}.{hint}\n"
                f"Expected: some of {', '.join(known)}.\nWhat to do: correct or leave out {name}."
            )
    return (line for line in lines() if not only or line.library in only)
