"""Constructors that take one object with all settings: which it holds, and how one is made.

What is read of it is found by handing over a stand-in (`standin`); the names have their meanings by
the same spellings as arguments. The object itself is one of the library's own class, a dict, or a
SimpleNamespace.
"""

from __future__ import annotations

import copy
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from inspect import Parameter
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from properties.basics import interrupts
from properties.recognition.adapters.messages import NAMES, Setting
from properties.recognition.adapters.spellings import CAP, WINDOW, argument_role, meaning
from properties.recognition.adapters.standin import ABSENT, Path, Reader, Record, chosen, is_config

CONFIG = re.compile(r"config|cfg|conf$|args$|settings|params|options|hyper", re.IGNORECASE)
PLACEHOLDERS = {"int": 1, "float": 1.0, "bool": False, "str": ""}


@dataclass(frozen=True)
class Holder:
    """An argument that holds settings.

    keyed: by path below the argument, whether it is read as a key; base: the class of the object, a
    dict whose other values are kept, or None; fixed: the values that no example varies.
    """

    argument: str
    keyed: Mapping[Path, bool]
    base: Any = None
    fixed: Mapping[Path, Any] = field(default_factory=dict)

    def shown(self, path: Path) -> str:
        """The expression that reads a setting: config.n_embd, cfg["emb_dim"]."""
        text = self.argument
        for end, name in enumerate(path, 1):
            key = f'["{name}"]' if isinstance(name, str) else f"[{name}]"
            text += key if self.keyed.get(path[:end]) else f".{name}"
        return text

    def make(self, values: Mapping[Path, Any]) -> Any:
        """A new object with these settings."""
        values = {**self.fixed, **values}
        made: Any = copy.deepcopy(self.base)
        if isinstance(self.base, type):
            made = fresh(self.base, {path[0]: v for path, v in values.items() if len(path) == 1})
        elif self.base is None:
            made = self.empty(())
        for path in [*values, *self.keyed]:
            place = made
            for end, name in enumerate(path[:-1], 1):
                if had(place, name) is ABSENT:
                    put(place, name, self.empty(path[:end]))
                place = had(place, name)
            if path in values and had(place, path[-1]) is not values[path]:
                put(place, path[-1], values[path])
        return made

    def fixing(self, fixed: Mapping[Path, Any]) -> Holder:
        """The same with those settings fixed that are its own."""
        own = {path[1:]: v for path, v in fixed.items() if path[0] == self.argument and path[1:]}
        return replace(self, fixed=own)

    def empty(self, path: Path) -> Any:
        """What holds the settings below a path, none so far."""
        below = [keyed for p, keyed in self.keyed.items() if p[:-1] == path]
        return {} if any(below) else SimpleNamespace()

    def called(self, values: Mapping[Path, Word]) -> str:
        """Source for an object with these settings."""
        values = {**self.fixed, **values}
        if isinstance(self.base, type):
            given = (f"{path[0]}={value!r}" for path, value in values.items() if len(path) == 1)
            return f"{self.base.__name__}({', '.join(given)})"
        own = self.seen(copy.deepcopy(self.base), ()) if self.base else {}
        kept = {(n,): v for n, v in own.items() if not is_config(v)}
        return source(replace(self, base=None).make(kept | values))

    def spelled(self, made: Any) -> str:
        """What is read of such an object, as source that needs SimpleNamespace alone."""
        return source(self.seen(made, ()))

    def seen(self, made: Any, path: Path) -> Any:
        """The part of an object below a path that is read."""
        names = [p[-1] for p in self.keyed if p[:-1] == path]
        if not names:
            return made
        found = {
            n: self.seen(had(made, n), (*path, n)) for n in names if had(made, n) is not ABSENT
        }
        return found if isinstance(self.empty(path), dict) else SimpleNamespace(**found)


class Word(str):
    """A piece of source, which stands for itself."""

    __slots__ = ()
    __repr__ = str.__str__


def advised(
    holders: Iterable[Holder],
    paths: Mapping[str, Path],
    roles: Mapping[str, str | None],
    unknown: Iterable[str] = (),
) -> dict[str, Setting]:
    """How the objects that hold settings are made in advice.

    roles: by the settings' shown names; unknown: the names of those that are left to be filled in.
    """
    found = {}
    for holder in holders:
        own = {n: path[1:] for n, path in paths.items() if path[0] == holder.argument}
        meant = {n: str(roles.get(n)) for n in own if roles.get(n) in NAMES}
        whole = [named((holder.argument, *path)) for n, path in own.items() if n in unknown]
        blank = {path[1:]: Word("...") for path in whole}
        texts = (
            holder.called(blank | {own[n]: Word(NAMES[role][column]) for n, role in meant.items()})
            if all(blank)
            else "..."
            for column in (0, 1)
        )
        names = dict.fromkeys(path[-1] for path in whole)
        found[holder.argument] = Setting((*texts,), tuple(meant.values()), tuple(names))
    return found


def named(path: Path) -> Path:
    """A path up to the last name in it, which can be given a value: numbers of a tuple are none."""
    last = max((n for n, part in enumerate(path) if str(part).isidentifier()), default=0)
    return path[: last + 1]


def source(value: Any) -> str:
    """A value as an expression."""
    if isinstance(value, SimpleNamespace):
        return f"SimpleNamespace({', '.join(f'{n}={source(v)}' for n, v in vars(value).items())})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{n!r}: {source(v)}' for n, v in value.items())}}}"
    return repr(value)


def had(place: Any, name: str) -> Any:
    """What an object or dict has under a name; `ABSENT` for nothing."""
    return place.get(name, ABSENT) if isinstance(place, dict) else getattr(place, name, ABSENT)


def put(place: Any, name: str, value: Any) -> None:
    """Set what an object or dict has under a name."""
    if isinstance(place, dict):
        place[name] = value
        return
    try:
        setattr(place, name, value)  # which may keep it under another name
    except (AttributeError, TypeError, ValueError):  # frozen, or of another type
        object.__setattr__(place, name, value)


def fresh(base: type, values: Mapping[str, Any]) -> Any:
    """A new object of a config class; what it raises goes through.

    Arguments that it requires and that nobody reads get a value of their type.
    """
    parameters = inspect.signature(base).parameters
    open_ended = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
    filled = placeholders(base, values)
    filled |= {n: v for n, v in values.items() if n in parameters or open_ended}
    made = base(**filled)
    for name, value in values.items():
        if not guarded(made, name) and had(made, name) is not value:
            put(made, name, value)
    return made


def guarded(made: Any, name: str) -> bool:
    """Whether an object refuses to say what it has under a name, as where each layer has a value of its
    own: it was told in the constructor.
    """
    try:
        had(made, name)
    except BaseException as error:
        interrupts.subjects_own(error)
        return True
    return False


def placeholders(base: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values for the arguments that a class requires and `values` lacks."""
    parameters = () if isinstance(base, dict) else inspect.signature(base).parameters.items()
    needed = {n: p for n, p in parameters if p.default is p.empty and p.kind in KINDS}
    return {
        n: PLACEHOLDERS.get(type_name(p.annotation)) for n, p in needed.items() if n not in values
    }


KINDS = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def type_name(annotation: Any) -> str:
    """The name of a type, of whatever form the annotation is."""
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")


@dataclass
class Understood:
    """What is read of the arguments that hold settings.

    holders: those that hold any; paths: by shown name, argument and path; fixed: by path, a value
    that no example varies; unknown: the shown names that are needed and have no meaning; switches:
    those of either of whose values will do, and whether a trial has told so.
    """

    holders: list[Holder] = field(default_factory=list)
    paths: dict[str, Path] = field(default_factory=dict)
    fixed: dict[Path, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    switches: dict[str, bool] = field(default_factory=dict)

    def shown(self, path: Path) -> str:
        """The expression that reads what is at a path."""
        found = (h.shown(path[1:]) for h in self.holders if h.argument == path[0])
        return next(found, path[0])


def understand(
    target: Callable[..., Any],
    standing: Mapping[str, Parameter],
    given: Mapping[str, Any],
    values: Mapping[str, Any],
    told: Mapping[str, Any],
    role_of: Callable[[str], str | None],
) -> Understood:
    """What there is to know of the arguments `standing` of a class or factory.

    given: its other arguments; values: by role, those of a trial; told: by name, values that
    somebody has chosen; role_of: the role of a name.
    """
    x = torch.randn(3, 5, values["d_in"], generator=torch.Generator().manual_seed(0))
    reader = Reader(target, given, tuple(standing), role_of, values, told, x)
    bases = {name: class_of(parameter, target) for name, parameter in standing.items()}
    record = reader.record(*examples(bases, values))
    for name in [name for name, base in bases.items() if base is None]:
        bases[name] = base_in_module(target, name, record, values)
        if bases[name] is not None:
            record = reader.record(*examples(bases, values))
    return concluded(reader, record, bases)


def concluded(reader: Reader, record: Record, bases: Mapping[str, Any]) -> Understood:
    """What a record says."""
    result = Understood()
    for name in reader.standing:
        keyed = {
            p[1:]: k for p, k in (record.read | record.missed).items() if p[0] == name and p[1:]
        }
        meant = any(reader.role_of(path[-1]) for path in keyed)
        if keyed and (meant or name in bases):
            result.holders.append(Holder(name, keyed, bases.get(name)))
    held = {holder.argument for holder in result.holders}
    bare = [p for p in record.nested if p[0] in held and record.leaf(p)]
    bare += [(name,) for name in reader.standing if name not in held]
    wholes = set(record.nested) | set(record.bases)
    asked = [p for p in record.read | record.missed if p[0] in held and p not in wholes]
    beside = {reader.role_of(name) for name in reader.given}
    asked += [p for name in held for p in implied(name, bases.get(name), asked, beside)]
    for path in [*bare, *asked]:
        result.paths[result.shown(path)] = path
        if reader.role_of(path[-1]) not in reader.values:
            value = chosen(reader.chosen, path)
            if value is not ABSENT:
                result.fixed[path] = value
    unknown = [path for path in bare if path not in result.fixed]
    off = dict.fromkeys(unbounded(reader, record, unknown))
    result.fixed |= off
    unknown = [path for path in unknown if path not in off]
    record = record.again({**record.answers, **off}, record.nested - off.keys())
    for path, told in indifferent(reader, record, unknown).items():
        result.fixed[path] = False
        result.switches[result.shown(path)] = told
    result.unknown = [result.shown(path) for path in unknown if path not in result.fixed]
    return result


def implied(argument: str, base: Any, asked: list[Path], beside: set[str | None]) -> list[Path]:
    """The settings with a meaning of a class that nobody reads, and that it needs or works with.

    Such as the width, where only what the class computes of it is read. beside: what other arguments
    carry.
    """
    if not isinstance(base, type):
        return []
    told = beside | {argument_role(path[-1]) for path in asked if isinstance(path[-1], str)}
    needed = placeholders(base, {})
    fields = [
        n for n in inspect.signature(base).parameters if argument_role(n) not in told | {None}
    ]
    wide = not told & {"embed", "d_in"}
    return [
        (argument, n)
        for n in fields
        if n in needed or (wide and argument_role(n) in ("embed", "d_in"))
    ]


def unbounded(reader: Reader, record: Record, unknown: list[Path]) -> list[Path]:
    """The settings for a bound on the scores or a window that may be None, which sets none, where all
    others without a meaning are False.
    """
    found: list[Path] = []
    for path in unknown:
        if not isinstance(path[-1], str) or meaning(path[-1]) not in (CAP, WINDOW):
            continue
        answers = {
            **record.answers,
            **dict.fromkeys(unknown, False),
            **dict.fromkeys([*found, path]),
        }
        again = record.again(answers, record.nested - set(unknown))
        if reader.outcome(again)[1] is None or reader.built(again):
            found.append(path)
    return found


def indifferent(reader: Reader, record: Record, unknown: list[Path]) -> dict[Path, bool]:
    """The settings without a meaning of which False and True give the same output.

    Whether a trial tells so; where there is no output to look at, it is enough that both are taken.
    """

    def trial(*on: Path) -> tuple[Any, bool]:
        answers = {**record.answers, **{path: path in on for path in unknown}}
        again = record.again(answers, record.nested - set(unknown))
        output, error = reader.outcome(again)
        return output, error is None or reader.built(again)

    if not unknown:
        return {}
    base, taken = trial()
    found = {}
    for path in unknown if taken else ():
        other, taken = trial(path)
        if taken and base is None and other is None:
            found[path] = False
        elif base is not None and other is not None and torch.equal(base, other):
            found[path] = True
    return found


def examples(
    bases: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[dict[str, Any], frozenset[Path]]:
    """For each argument with a class or dict of its own, an object for a trial; what it only fills in."""
    made = {name: example(base, values) for name, base in bases.items()}
    kept = {name: value for name, value in made.items() if value is not None}
    filled = {name: placeholders(bases[name], meant(bases[name], values)) for name in kept}
    return kept, frozenset((name, each) for name, found in filled.items() for each in found)


def example(base: Any, values: Mapping[str, Any]) -> Any:
    """An object of a config class, or a dict like another, for a trial; None where none is made."""
    if base is None or isinstance(base, dict):
        return base and base | meant(base, values)
    try:
        return fresh(base, meant(base, values))
    except BaseException as error:
        interrupts.subjects_own(error)
        return None


def meant(base: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of those settings of a class or dict that have a meaning."""
    return {n: values[str(argument_role(n))] for n in names_of(base) if argument_role(n) in values}


def names_of(base: Any) -> list[str]:
    """The settings that a dict has, or that a class says it has: its arguments and its own values."""
    if isinstance(base, dict):
        return list(base)
    taken = [n for n, p in inspect.signature(base).parameters.items() if p.kind in KINDS]
    own = [
        name
        for part in base.__mro__
        for name, value in vars(part).items()
        if not (callable(value) or isinstance(value, property))
    ]
    return [name for name in dict.fromkeys([*taken, *own]) if not name.startswith("_")]


def class_of(parameter: Parameter, target: Callable[..., Any]) -> Any:
    """The config class that an argument is annotated with, or has an object of as default."""
    if is_config(parameter.default) and not isinstance(parameter.default, dict):
        return type(parameter.default)
    annotation = parameter.annotation
    if isinstance(annotation, str):
        annotation = home(target).get(annotation.strip("'\"").split("|")[0].strip())
    parts = [annotation, *typing.get_args(annotation)]
    return next((part for part in parts if is_class(part)), None)


def is_class(value: Any) -> bool:
    """Whether it is a class that somebody has written to hold settings."""
    foreign = ("builtins", "inspect", "typing", "types", "collections", "argparse", "torch")
    return (
        isinstance(value, type)
        and value.__module__.partition(".")[0] not in foreign
        and not issubclass(value, nn.Module | dict)
    )


def base_in_module(
    target: Callable[..., Any], argument: str, record: Record, values: Mapping[str, Any]
) -> Any:
    """The config class, or the dict, of the target's own module that holds all that is read."""
    asked = {p: k for p, k in (record.read | record.missed).items() if p[:-1] == (argument,)}
    needed = {p[1] for p in [*record.answers, *record.nested] if p[0] == argument and p[1:]}
    for name, value in home(target).items():
        if not CONFIG.search(name) or not (is_class(value) or isinstance(value, dict)):
            continue
        made = example(value, values)
        alike = isinstance(made, dict) == any(asked.values())
        if needed and alike and all(had(made, each) is not ABSENT for each in needed):
            return value
    return None


def home(target: Callable[..., Any]) -> dict[str, Any]:
    """The names of the module in which a class or function is defined."""
    return vars(sys.modules.get(getattr(target, "__module__", ""), SimpleNamespace()))
