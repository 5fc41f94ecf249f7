"""What a run found: one `Result` per clause, gathered in a `Report`."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np

from properties.cases.call import AXES, Call
from properties.cases.case import Case, parameters
from properties.subjects.subject import Subject
from properties.truth.parameters import Sizes, Weights

DERIVED = ("right", "guarded", "conforms", "failed")
"""What a report as plain data says besides its fields."""


class Status(StrEnum):
    """What became of a clause."""

    PASS = "pass"
    FAIL = "fail"
    VACUOUS = "vacuous"
    UNSUPPORTED = "unsupported"
    WAIVED = "waived"
    BLOCKED = "blocked"
    ERROR = "error"


@dataclass(frozen=True)
class Result:
    """One clause's verdict on one subject.

    examples: how many were checked; counted: how many of them met the clause's condition; margin:
    the largest share of an error budget that was used, None where the clause has no tolerance;
    behaves_like: wrong formulas that explain a failure; evidence: grids worth drawing;
    script: a file that fails by itself, where one was asked for; half: of the verdict, as in `Half`;
    probe: sizes and dtype of the probe that the clause made from the counterexample, where they are
    others than the counterexample's own; remembered: whether it failed on a remembered case alone.
    """

    clause: str
    level: str
    status: Status
    examples: int = 0
    counted: int = 0
    seconds: float = 0.0
    margin: float | None = None
    message: str = ""
    counterexample: dict[str, Any] | None = None
    behaves_like: list[str] = field(default_factory=list)
    evidence: dict[str, Any] | None = None
    script: str = ""
    half: str = "right"
    probe: dict[str, Any] | None = None
    remembered: bool = False


@dataclass(frozen=True)
class Finding:
    """One cause, and the clauses that it breaks.

    kind: fault, domain (what the subject cannot take), unguarded, edge, or advice (of SHOULD clauses);
    clauses: the most telling first, whose result has the message, the pictures and the script;
    likely: clauses whose failure is likely the same; name: what the subject behaves like, or cannot
    take, "" where that is not known; look: where to look for it.
    """

    kind: str
    level: str
    clauses: list[str]
    likely: list[str] = field(default_factory=list)
    name: str = ""
    look: str = ""
    message: str = ""
    counterexample: dict[str, Any] | None = None


@dataclass(frozen=True, repr=False)
class Report:
    """Every clause's verdict on one subject, and what is needed to run it again.

    source: file, line and sha256 of where the subject is defined, as far as it is known; only: the
    clauses or areas that were named, empty for all; waivers: those that applied, as in their file;
    options: further words of the command line that are needed to ask the same again; unasked: the
    arguments that kept their defaults, each with what it means; false_alarm: a bound on the
    probability that a law about chance failed though it holds; strict: whether input that is not
    refused, and edges, decide as well; findings: what failed, by cause, what decides first; takes:
    what a call may be told, and by which argument; conventions: the answer to each, and how it is
    known; remembered: failing cases of earlier runs, and what became of each.
    """

    drawn: ClassVar[Callable[[Report], str] | None] = None  # by the door that hands reports out

    subject: str
    family: str
    profile: str
    seed: int
    results: list[Result]
    versions: dict[str, str] = field(default_factory=dict)
    dtypes: list[str] = field(default_factory=list)
    matched: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    source: dict[str, Any] = field(default_factory=dict)
    only: list[str] = field(default_factory=list)
    fail_fast: bool = False
    waivers: list[dict[str, Any]] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    unasked: dict[str, str] = field(default_factory=dict)
    false_alarm: float = 0.0
    strict: bool = False
    findings: list[Finding] = field(default_factory=list)
    takes: dict[str, str] = field(default_factory=dict)
    conventions: dict[str, dict[str, str]] = field(default_factory=dict)
    remembered: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def refused(cls, subject: str, profile: str, seed: int, reason: str) -> Report:
        """Of a subject that could not be asked at all: no family, no results, one note."""
        return cls(subject, "", profile, seed, [], notes=[reason])

    def with_status(
        self, *statuses: Status, level: str = "MUST", half: str | None = None
    ) -> list[Result]:
        """The results of one level, and of one half or all, with one of these statuses."""
        return [
            r
            for r in self.results
            if r.status in statuses and r.level == level and half in (None, r.half)
        ]

    def holds(self, half: str) -> bool:
        """No MUST clause of this half failed, was vacuous or blocked, and none of any level errored."""
        broken = self.with_status(Status.FAIL, Status.VACUOUS, Status.BLOCKED, half=half)
        errors = [r for r in self.results if r.status is Status.ERROR and r.half == half]
        return not broken and not errors

    @property
    def right(self) -> bool:
        """Attention is computed as it should be on valid input: at least one law was asked, all hold."""
        return self.holds("right") and bool(self.with_status(Status.PASS, half="right"))

    @property
    def wrong(self) -> bool:
        """A law about valid input does not hold. Neither right nor wrong: the question is open."""
        return bool(self.with_status(Status.FAIL, half="right"))

    @property
    def guarded(self) -> bool:
        """Input that has no right answer is refused, as far as that was asked."""
        return self.holds("guarded")

    @property
    def conforms(self) -> bool:
        """The same as `right`."""
        return self.right

    @property
    def unguarded(self) -> list[Result]:
        """The MUST clauses about bad input that failed."""
        return self.with_status(Status.FAIL, half="guarded")

    @property
    def edges(self) -> list[Result]:
        """The MUST clauses about an edge of a single size that failed."""
        return self.with_status(Status.FAIL, half="edge")

    @property
    def deciding(self) -> tuple[str, ...]:
        """The halves that decide about the exit code."""
        return ("right", "guarded", "edge") if self.strict else ("right",)

    def decides(self, result: Result) -> bool:
        """Whether the result itself decides against the subject; what it blocks is left out."""
        binding = result.status in (Status.FAIL, Status.VACUOUS) and result.level == "MUST"
        return (binding or result.status is Status.ERROR) and result.half in self.deciding

    @property
    def failed(self) -> list[str]:
        """Ids of the MUST clauses that failed in the halves that decide."""
        return [r.clause for r in self.with_status(Status.FAIL) if r.half in self.deciding]

    @property
    def waived(self) -> list[Result]:
        """The MUST clauses with a waiver of their own; what depends on them has none."""
        return [r for r in self.with_status(Status.WAIVED) if r.counterexample is not None]

    @property
    def unsupported(self) -> list[Result]:
        """The MUST clauses that could not be asked."""
        return self.with_status(Status.UNSUPPORTED)

    @property
    def in_part(self) -> bool:
        """Whether something was left out: a MUST clause, or an argument that kept its default."""
        return bool(self.unsupported or self.unasked)

    @property
    def exit_code(self) -> int:
        """0 right (strict: and guarded, and no edge); 1 a law does not hold; 2 not asked in full."""
        if self.failed:
            return 1
        return 0 if self.right and all(map(self.holds, self.deciding)) else 2

    def __repr__(self) -> str:
        failed = f": {', '.join(self.failed)}" if self.failed else ""
        first = "right" if self.right else "not right" if self.wrong else "no verdict"
        verdict = first + (", guarded" * self.guarded) + failed
        return f"<Report on {self.subject}, profile {self.profile}, seed {self.seed}: {verdict}>"

    def _repr_html_(self) -> str:
        """The page, in a notebook's cell; plain text of one that no door has handed out."""
        drawn = Report.drawn
        return drawn(self) if drawn else f"<pre>{html.escape(repr(self))}</pre>"

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what `from_dict` reads."""
        return {**asdict(self), **{name: getattr(self, name) for name in DERIVED}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Report:
        """The report that `to_dict` wrote."""
        data = {k: v for k, v in data.items() if k not in DERIVED}
        results = [Result(**{**r, "status": Status(r["status"])}) for r in data.pop("results")]
        findings = [Finding(**finding) for finding in data.pop("findings", [])]
        return cls(results=results, findings=findings, **data)


def read_case(data: Mapping[str, Any], subject: Subject) -> Case:
    """The case that `describe_case` wrote; KeyError, TypeError or ValueError where it is none.

    A case that no subject could take would be taken for a failure of this one.
    """
    sizes = read_sizes(data["sizes"])
    weights = dict(data["weights"])
    arrays = {name: np.asarray(numbers, np.float64) for name, numbers in weights.items()}
    case = Case(
        subject=subject,
        sizes=sizes,
        dtype=data["dtype"],
        x=np.asarray(data["x"], np.float64),
        other=np.asarray(data["other"], np.float64),
        weights=Weights(**arrays) if arrays else None,
        bias=data["bias"],
        dropout=data["dropout"],
        cut=data["cut"],
        seed=data["seed"],
        call=read_call(data["call"]) if data.get("call") else None,
    )
    for name, array in {"x": case.x, "other": case.other, **arrays}.items():
        expected = shape_of(name, sizes)
        if array.shape != expected or not np.isfinite(array).all():
            raise ValueError(
                f"{name} has the shape {array.shape}, expected finite numbers {expected}"
            )
    for name, right in (
        ("bias", case.bias in (True, False)),
        ("dropout", 0.0 <= case.dropout <= 1.0),
        ("cut", case.cut in range(sizes.tokens)),
        ("seed", type(case.seed) is int and case.seed >= 0),
    ):
        if not right:
            raise ValueError(f"{name} is {data[name]!r}")
    return case


def read_call(data: Mapping[str, Any]) -> Call:
    """The call that `Call.data` gave."""
    arrays = {name: np.asarray(numbers, np.float64) for name, numbers in data["arrays"].items()}
    for name, array in arrays.items():
        if array.ndim != len(AXES[name]) or not np.isfinite(array).all():
            raise ValueError(f"{name} has {array.ndim} axes, expected finite numbers {AXES[name]}")
    return Call(**{**data, "arrays": arrays})


def read_sizes(data: Mapping[str, Any]) -> Sizes:
    """Sizes that attention can have."""
    sizes = Sizes(**data)
    for name, size in sizes.data().items():
        if type(size) is not int or size < 1:
            raise ValueError(f"{name} is {size!r}, expected a size above 0")
    if sizes.heads % sizes.key_heads:
        raise ValueError(
            f"{sizes.groups} groups, expected a number that divides {sizes.heads} heads"
        )
    if sizes.tokens > sizes.context_length:
        raise ValueError(
            f"{sizes.tokens} tokens are more than context_length {sizes.context_length}"
        )
    return sizes


def shape_of(name: str, sizes: Sizes) -> tuple[int, ...]:
    """The shape of an array of a case."""
    if name in ("x", "other"):
        return sizes.batch, sizes.tokens, sizes.d_in
    width = sizes.width_of(name.removesuffix("_bias"))
    if name.endswith("bias"):
        return (width,)
    return sizes.d_in_of(name), width


def describe_case(case: Case) -> dict[str, Any]:
    """A case as plain data, complete: sizes, options and every number."""
    return {
        "sizes": case.sizes.data(),
        "dtype": case.dtype,
        "bias": case.bias,
        "dropout": case.dropout,
        "cut": case.cut,
        "seed": case.seed,
        "x": case.x.tolist(),
        "other": case.other.tolist(),
        "weights": {name: array.tolist() for name, array in parameters(case.weights).items()},
        **({} if case.call is None else {"call": case.call.data()}),
    }
