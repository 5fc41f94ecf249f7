"""Weights carried by name from one side to the other, where the names say nothing to an adapter.

A mapping has the old name of a parameter, buffer or part on the left and the new one on the right;
a part stands for all that is inside it. Names that it leaves out are the same on both sides.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from properties.basics import interrupts
from properties.basics.dtypes import Array
from properties.basics.errors import QuestionError, SubjectError
from properties.cases.case import Case
from properties.cases.strategies import PLAIN_SIZES, coincide, make_case
from properties.recognition.adapters.messages import listed
from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Weights

Names = Mapping[str, str]
RECOGNISED = frozenset({"projections", "out-projection", "out-bias", "always-biased"})
FORM = "a TOML file, or pairs old=new such as W_query=q_proj"


def parse(arguments: Iterable[str]) -> dict[str, str]:
    """The mapping that was typed: one TOML file, or pairs; QuestionError for anything else."""
    given = list(arguments)
    if len(given) == 1 and "=" not in given[0]:
        return read(Path(given[0]))
    mapping: dict[str, str] = {}
    for pair in given:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise QuestionError(f"--mapping {pair!r} is no pair.\nExpected: {FORM}.")
        mapping[old.strip()] = new.strip()
    return mapping


def read(path: Path) -> dict[str, str]:
    """The pairs of a TOML file, W_query.weight = "q_proj.weight" a line."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise QuestionError(f"--mapping {path}: {error}.\nExpected: {FORM}.") from error
    mapping = dict(flat(table, ""))
    wrong = [name for name, value in mapping.items() if not isinstance(value, str)]
    if wrong or not mapping:
        what = f"{listed(wrong)} is no name" if wrong else "it is empty"
        raise QuestionError(
            f'--mapping {path}: {what}.\nExpected: lines such as W_query.weight = "q_proj.weight".'
        )
    return mapping


def flat(table: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    """The entries with their dotted names."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def renamed(name: str, mapping: Names) -> str:
    """The name on the other side: the longest entry that is the name or a part that holds it."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        head, rest = ".".join(parts[:length]), parts[length:]
        if head in mapping:
            return ".".join([mapping[head], *rest])
    return name


def inverse(mapping: Names) -> dict[str, str]:
    """From new to old; QuestionError if two old names become one."""
    turned = {new: old for old, new in mapping.items()}
    if len(turned) < len(mapping):
        twice = sorted({n for n in mapping.values() if list(mapping.values()).count(n) > 1})
        raise QuestionError(f"The mapping has {listed(twice)} for more than one old name.")
    return turned


class Moved(Subject):
    """A subject that gets its weights from another one's state_dict, under its own names."""

    def __init__(self, subject: Subject, donor: Subject, mapping: Names) -> None:
        """Weights go into `donor` and from there, renamed by `mapping`, into `subject`."""
        self.name, self.family, self.dtypes = subject.name, subject.family, subject.dtypes
        self.capabilities = (
            subject.capabilities - RECOGNISED | donor.capabilities & RECOGNISED
        ) - ({"always-biased"} if subject.has("qkv-bias") else set())
        self.matched, self.notes = subject.matched, subject.notes
        self.differentiable, self.unasked = subject.differentiable, subject.unasked
        self.dropout_shared = subject.dropout_shared
        self.lacking = {k: v for k, v in subject.lacking.items() if k not in self.capabilities}
        self.source = subject.source  # where it is defined
        self.subject, self.donor, self.mapping = subject, donor, mapping

    def build(self, config: Config, weights: Weights | None) -> torch.nn.Module:
        """The subject's module with what the donor's has; weights None leaves it as it is."""
        module: torch.nn.Module = self.subject.build(config, None)
        if weights is not None:
            state = self.donor.build(config, weights).state_dict()
            found = {renamed(name, self.mapping): tensor for name, tensor in state.items()}
            own = module.state_dict()
            try:
                module.load_state_dict(
                    {name: found[name] for name in own if name in found}, strict=False
                )
            except RuntimeError as error:  # sizes at which the shapes do not agree
                raise SubjectError(f"{self.name}: {' '.join(str(error).split())}") from error
        return module

    def collect(self, named: Mapping[str, Array], config: Config) -> Weights | None:
        """By the donor's names, as the donor collects them."""
        back = inverse(self.mapping)
        return self.donor.collect({renamed(n, back): a for n, a in named.items()}, config)


def carried(old: Subject, new: Subject, mapping: Names | None) -> tuple[Subject, Subject]:
    """Both sides with weights that can be set: by role where both are recognised, else by name.

    Raises QuestionError where neither is, or where a name or a shape does not fit.
    """
    if old.family == "plain":
        return old, new
    recognised = (old.has("projections"), new.has("projections"))
    if mapping is None and all(recognised):
        return old, new
    if not any(recognised):
        raise QuestionError(
            f"The weights of neither {old.name} nor {new.name} are recognised, so nothing says how "
            f"far rounding may take them apart.\n{old.lacking.get('projections', '')}"
        )
    names = dict(mapping or {})
    back = inverse(names)
    require_known(names, old, new)
    if recognised[0]:
        require_fit(old, new, names)
        return old, Moved(new, old, names)
    require_fit(new, old, back)
    return Moved(old, new, back), new


def examples(subject: Subject) -> list[Case]:
    """A case without and one with biases, of sizes that are pairwise different where possible."""
    sizes = coincide(PLAIN_SIZES, "all different", subject)
    dtype = subject.dtypes[0]
    return [make_case(subject, sizes, dtype, "ordinary", bias, 0.5, 1, 0) for bias in (False, True)]


def shapes(subject: Subject, case: Case) -> dict[str, tuple[int, ...]]:
    """The state_dict's entries of a module for the case; QuestionError if there is no module."""
    weights = case.weights if subject.has("projections") else None
    try:
        module = subject.build(case.config(), weights)
        return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    except BaseException as error:
        interrupts.subjects_own(error)
        raise QuestionError(f"{subject.name} cannot be built: {error}") from error


def require_known(mapping: Names, old: Subject, new: Subject) -> None:
    """QuestionError for names that neither side has."""
    sides: tuple[tuple[str, Subject, Iterable[str]], ...] = (
        ("old", old, mapping.keys()),
        ("new", new, mapping.values()),
    )
    for side, subject, named in sides:
        there = {name for case in examples(subject) for name in shapes(subject, case)}
        unknown = [n for n in named if not any(f"{t}.".startswith(f"{n}.") for t in there)]
        if unknown:
            raise QuestionError(
                f"The mapping names {listed(unknown)}, which the {side} side, {subject.name}, does "
                f"not have.\nExpected: some of {listed(sorted(there))}, or a part that holds them."
            )


def require_fit(source: Subject, sink: Subject, mapping: Names) -> None:
    """QuestionError unless every parameter of the sink gets one of the source of the same shape."""
    for case in examples(source):
        theirs = {renamed(n, mapping): shape for n, shape in shapes(source, case).items()}
        own = parameters_of(sink, case)
        absent = [name for name in own if name not in theirs]
        if absent:
            raise QuestionError(
                f"Nothing says which of {source.name}'s weights belong into {listed(absent)} of "
                f"{sink.name}.\nExpected: names that are recognised, the same names, or a mapping "
                f"of old=new.\nWhat to do: --mapping with these, there are: "
                f"{listed(sorted(shapes(source, case)))}"
            )
        other = [
            f"{name} {times(own[name])}, not {times(theirs[name])}"
            for name in own
            if own[name] != theirs[name]
        ]
        if other:
            raise QuestionError(
                f"{sink.name} has other shapes than {source.name}: {listed(other)}.\n"
                "Expected: the same shapes; a mapping does not turn or cut a matrix.\n"
                "What to do: write a Subject whose build does (see properties/subjects/subject.py)."
            )


def parameters_of(subject: Subject, case: Case) -> dict[str, tuple[int, ...]]:
    """The parameters' shapes of a module that keeps its initial weights."""
    module = subject.build(case.config(), None)
    return {name: tuple(tensor.shape) for name, tensor in module.named_parameters()}


def times(shape: tuple[int, ...]) -> str:
    """12x7."""
    return "x".join(map(str, shape)) or "a number"
