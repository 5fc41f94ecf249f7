"""What a constructor reads of an object that it is configured by, found by handing it a stand-in.

A path is the argument's name and then the names of attributes or keys: ("config", "n_embd").
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from properties.basics import interrupts
from properties.basics.doing import doing
from properties.subjects.instance import in_eval

Path = tuple[str, ...]
ABSENT: Any = object()
READS = 200  # names that a constructor may read


@dataclass
class Record:
    """What a stand-in answers, and what it was asked.

    answers: the value at a path; nested: paths at which there is a stand-in again; chosen: values by
    name, for what has no meaning; bases: the real object or dict at a path, which answers where nothing
    else does, but for what is hollow; read,
    missed: the paths that were asked for, and whether as a key; raised, lacking: what was raised
    last for one that is missed, and its path; error: what the attempt ended by.
    """

    answers: Mapping[Path, Any]
    nested: frozenset[Path] = frozenset()
    bases: dict[Path, Any] = field(default_factory=dict)
    hollow: frozenset[Path] = frozenset()
    chosen: Mapping[str, Any] = field(default_factory=dict)
    read: dict[Path, bool] = field(default_factory=dict)
    missed: dict[Path, bool] = field(default_factory=dict)
    raised: BaseException | None = None
    lacking: Path = ()
    error: BaseException | None = None

    def answer(self, path: Path, keyed: bool, asker: StandIn) -> Any:
        """The value at a path; AttributeError or KeyError where there is none."""
        value = self.answers.get(path, chosen(self.chosen, path))
        if path in self.nested:
            value = StandIn(self, path)
        if value is ABSENT and path not in self.hollow:
            value = held(self.bases.get(path[:-1], ABSENT), path[-1], keyed, asker)
            if is_config(value):
                self.bases[path] = value
                value = StandIn(self, path)
        if value is ABSENT:
            self.missed[path], self.lacking = keyed, path
            self.raised = (KeyError if keyed else AttributeError)(path[-1])
            raise self.raised
        if not isinstance(member(self.bases.get(path[:-1]), path[-1]), property):
            self.read[path] = keyed
        return value

    def again(self, answers: Mapping[Path, Any], nested: Iterable[Path]) -> Record:
        """A new record with other answers, of which nothing was asked yet."""
        own = (dict(self.bases), self.hollow, self.chosen)
        return Record(dict(answers), frozenset(nested), *own)

    def leaf(self, path: Path) -> bool:
        """Whether nothing was asked of what is at a path."""
        return not any(p[: len(path)] == path and p != path for p in [*self.read, *self.missed])


class StandIn:
    """Answers as the record says, to attributes and keys alike."""

    def __init__(self, record: Record, path: Path) -> None:
        vars(self).update({"__record": record, "__path": path})

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # isinstance asks it
        path: Path = vars(self)["__path"]
        base = vars(self)["__record"].bases.get(path, ABSENT)
        return StandIn if base is ABSENT else type(base)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return vars(self)["__record"].answer((*vars(self)["__path"], name), False, self)

    def __getitem__(self, name: str) -> Any:
        return vars(self)["__record"].answer((*vars(self)["__path"], name), True, self)

    def __contains__(self, name: object) -> bool:
        return self.get(name, ABSENT) is not ABSENT

    def get(self, name: Any, default: Any = None) -> Any:
        """As of a dict."""
        try:
            return self[name]
        except KeyError:
            return default


def held(base: Any, name: str, keyed: bool, asker: StandIn) -> Any:
    """What a real object or dict has under a name; a property is computed of what `asker` answers."""
    if keyed:
        return base.get(name, ABSENT) if isinstance(base, Mapping) else ABSENT
    found = member(base, name)
    if isinstance(found, property) and found.fget is not None:
        return found.fget(asker)
    return ABSENT if base is ABSENT else getattr(base, name, ABSENT)


def member(base: Any, name: str) -> Any:
    """What the class of an object has under a name; nothing for a place in a list."""
    return getattr(type(base), name, None) if isinstance(name, str) else None


def is_config(value: Any) -> bool:
    """Whether a value holds others by name."""
    return isinstance(value, dict | SimpleNamespace) or (
        is_dataclass(value) and not isinstance(value, type)
    )


def chosen(values: Mapping[str, Any], path: Path) -> Any:
    """What was chosen for a path; `ABSENT` for nothing."""
    return next((value for name, value in values.items() if names(name, path)), ABSENT)


def names(name: str, path: Path) -> bool:
    """Whether a name, perhaps with dots, is that of a path or of its end."""
    parts = tuple(name.split("."))
    return path[-len(parts) :] == parts


@dataclass(frozen=True)
class Reader:
    """A class or factory that is handed stand-ins.

    given: its other arguments; standing: the arguments that are stood in for; role_of: what a name
    means, None for nothing known; values: by role, those of a trial; chosen: values by name,
    whatever it may mean; x: (B, T, d_in).
    """

    target: Callable[..., Any]
    given: Mapping[str, Any]
    standing: tuple[str, ...]
    role_of: Callable[[str], str | None]
    values: Mapping[str, Any]
    chosen: Mapping[str, Any]
    x: Tensor

    def record(self, bases: Mapping[str, Any], hollow: frozenset[Path]) -> Record:
        """What is read while a module is built and run once, each name that is needed answered.

        bases: by argument, the real objects that answer, too, but for what is hollow in them.
        """
        above: dict[Path, Any] = {(name,): base for name, base in bases.items()}
        named = ((n, v, self.role_of(n.rpartition(".")[2])) for n, v in self.chosen.items())
        free = {n: value for n, value, role in named if role not in self.values}
        first = Record({}, frozenset((name,) for name in self.standing), above, hollow, free)
        record = self.answered(first)
        for path in [p for p in record.missed if p not in record.read]:
            # A name that the code has a default for is told as well, where that does no harm.
            known = {self.role_of(p[-1]) for p in record.read}
            if self.wanted(path) is ABSENT or self.role_of(path[-1]) in known - {None}:
                continue
            answers = {**record.answers, path: self.wanted(path)}
            more = self.answered(first.again(answers, record.nested))
            if more.error is None or record.error is not None:
                record = more
        return record

    def wanted(self, path: Path) -> Any:
        """The value for a path, by its last name; `ABSENT` where nobody knows one."""
        role = self.role_of(path[-1]) or ""
        return self.values[role] if role in self.values else chosen(self.chosen, path)

    def answered(self, first: Record) -> Record:
        """The record of the first attempt that misses nothing, or fails for another reason."""
        answers, nested = dict(first.answers), set(first.nested)
        for _ in range(READS):
            record = first.again(answers, nested)
            record.error = self.outcome(record)[1]
            if record.error is None or record.error is not record.raised:
                break
            if (value := self.wanted(record.lacking)) is ABSENT:
                nested.add(record.lacking)
            else:
                answers[record.lacking] = value
        return record

    def built(self, record: Record) -> bool:
        """Whether a module is built by this record."""
        return self.outcome(record, run=False)[1] is None

    def outcome(
        self, record: Record, run: bool = True
    ) -> tuple[Tensor | None, BaseException | None]:
        """The output of a module that is built by this record, and what was raised."""
        named = {name: StandIn(record, (name,)) for name in self.standing}
        plain = {name: v for (name, *rest), v in record.answers.items() if not rest}
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.default_generator.manual_seed(0)
            try:
                with doing("while constructing it to see what it is told by"):
                    module = self.target(**{**self.given, **named, **plain})
                    if not isinstance(module, nn.Module):
                        raise TypeError("no torch.nn.Module is made")
                    found = in_eval(module)(self.x) if run else None
            except BaseException as error:
                interrupts.subjects_own(error)
                return None, error
        found = found[0] if isinstance(found, tuple | list) and found else found
        return (found if isinstance(found, Tensor) else None), None
