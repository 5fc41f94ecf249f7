"""What a name must explain: generic examples of every kind, the failing one, and those like it.

On a small failing case many wrong formulas are one and the same; on these, of sizes pairwise
different and general numbers, they are not. Each coincidence of sizes is there twice, so that a fault
that waits for one can be told from one that is always there, and its condition named.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import FORMATS, Array
from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.cases.strategies import coincide, grouped, make_case
from properties.findings.names.formula import Desk, Formula
from properties.spec.clauses.numerics import with_scores
from properties.subjects.subject import CAUSAL_FAMILIES, HEADED_FAMILIES, Subject
from properties.truth.parameters import Sizes

GENERIC = (
    Sizes(batch=2, tokens=5, d_in=7, heads=3, head_dim=4, context_length=11),
    Sizes(batch=3, tokens=6, d_in=5, heads=2, head_dim=7, context_length=9),
    Sizes(batch=4, tokens=3, d_in=9, heads=5, head_dim=2, context_length=8),
    Sizes(batch=5, tokens=8, d_in=6, heads=4, head_dim=3, context_length=10),
)
FEW_TERMS = (  # so that rounding in low precision does not hide everything
    Sizes(batch=3, tokens=5, d_in=2, heads=2, head_dim=3, context_length=7),
    Sizes(batch=4, tokens=5, d_in=2, heads=3, head_dim=2, context_length=8),
)
FAR = Sizes(batch=2, tokens=16, d_in=5, heads=3, head_dim=2, context_length=18)
COINCIDING: tuple[dict[str, int | str], ...] = (
    {"context_length": "tokens"},
    {"batch": "tokens"},
    {"heads": "tokens"},
    {"head_dim": "tokens"},
    {"d_in": "width"},
    {"batch": 1},
    {"batch": 2},
    {"batch": 3},
    {"tokens": 1},
    {"tokens": 2},
    {"heads": 1},
    {"head_dim": 1},
)
WIDE = ("float64", "float32")  # formats whose range large scores do not leave
SEED = 20
KEPT = 20  # tokens of a case of which every step is kept for other formulas


@dataclass(frozen=True, eq=False)
class Example:
    """One case in one mode, what the subject makes of it, and whether that is right."""

    case: Case
    training: bool = False

    @cached_property
    def output(self) -> Array | None:
        """The subject's, (B, T, W); None where it raises, or gives another shape."""
        try:
            output = self.case.run(training=self.training)
        except SubjectError:
            return None
        s = self.case.sizes
        return output if output.shape == (s.batch, s.tokens, s.width) else None

    @cached_property
    def right(self) -> bool:
        """Whether the output is that of attention as specified."""
        return not bool(self.wrong.any())

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        """Which numbers of the output, (B, T, W), are not those of attention as specified."""
        return self.off(Formula)

    def agrees(self, formula: type[Formula]) -> bool:
        """Whether the output is the formula's, wherever its error is bounded."""
        return formula.fits(self.case) and not bool(self.off(formula).any())

    def betrays(self, formula: type[Formula]) -> bool:
        """Whether a number that is wrong is told by the formula: it is not the right one, for sure."""
        (value, allowed), (right, _) = predicted(formula, self.case), predicted(Formula, self.case)
        with np.errstate(all="ignore"):
            told = (np.abs(value - right) > allowed) | np.isnan(value)
        return bool((self.wrong & told).any())

    def off(self, formula: type[Formula]) -> NDArray[np.bool_]:
        """Which numbers of the output, (B, T, W), are not the formula's."""
        value, allowed = predicted(formula, self.case)
        output = np.asarray(self.output)
        with np.errstate(all="ignore"):
            near = np.abs(output - value) <= allowed
        same = (output == value) | (np.isnan(value) & np.isnan(output))
        open_ = ~np.isfinite(allowed) & np.isfinite(value)
        wrong: NDArray[np.bool_] = ~(near | same | open_)
        return wrong


def predicted(formula: type[Formula], case: Case) -> tuple[Array, Array]:
    """What the formula gives for a case, and how far off a subject may be that computes it.

    The subject's error in its own format, and ours in float64.
    """
    found = {}
    with np.errstate(all="ignore"):
        for name in dict.fromkeys((case.dtype, "float64")):
            found[name] = formula(
                case, FORMATS[name], desk(case, name) if short(case) else {}
            ).output()
    theirs, ours = found[case.dtype], found["float64"]
    return theirs.value, ours.error + theirs.error


def short(case: Case) -> bool:
    """Whether what all formulas make of a case may be kept."""
    return case.sizes.tokens <= KEPT


@lru_cache(maxsize=4)
def desk(case: Case, format: str) -> Desk:
    """What formulas of one case share in one format."""
    return {}


def battery(subject: Subject) -> list[Example]:
    """The examples that every failure of the subject is held against."""
    examples = []
    one_head = subject.family not in HEADED_FAMILIES  # then d_in = width is that of one head
    for number, s in enumerate(GENERIC):
        biased = bool(number % 2)
        examples += [Example(made(subject, s, bias, number)) for bias in (False, True)]
        examples.append(Example(made(subject, s, biased, number), training=True))
        if subject.dtypes[0] in WIDE:
            examples.append(Example(made(subject, s, biased, number, kind="large")))
    for number, s in enumerate(FEW_TERMS):
        for dtype in subject.dtypes[1:]:
            examples.append(Example(made(subject, s, False, number, dtype=dtype)))
    examples.append(Example(made(subject, FAR, False, 0)))
    if subject.family in CAUSAL_FAMILIES and "float64" in subject.dtypes:
        examples += map(Example, apart(made(subject, FAR, False, 0, dtype="float64")))
    examples += of_groups(subject)
    for changes in COINCIDING:
        for number in (0, 1):
            s = replace(GENERIC[number], heads=1) if one_head else GENERIC[number]
            examples.append(Example(made(subject, coinciding(s, changes), bool(number), number)))
    return examples


def of_groups(subject: Subject) -> Iterator[Example]:
    """Several heads of queries for each head of keys and values, in several groups and in one."""
    for number, s in enumerate(GENERIC if subject.has("groups") else ()):
        for groups in ("several", "one"):
            yield Example(made(subject, grouped(s, groups), bool(number % 2), number))


def apart(case: Case) -> Iterator[Case]:
    """The case with scores that grow from key to key, and with some that rise from far below zero: a
    finite number in place of what is hidden is seen in one of them.
    """
    powers = np.power(8.0, np.arange(float(case.sizes.tokens)))
    yield with_scores(case, powers)
    yield with_scores(case, -powers[::-1])


def coinciding(s: Sizes, changes: Mapping[str, int | str]) -> Sizes:
    """The sizes with some set to a number, or to another size."""
    for field, source in changes.items():
        s = replace(s, **{field: source if isinstance(source, int) else getattr(s, source)})
    return s


def made(
    subject: Subject,
    s: Sizes,
    bias: bool,
    number: int,
    *,
    dtype: str | None = None,
    kind: str = "ordinary",
) -> Case:
    """A case of these sizes, made to fit the subject."""
    fitting = coincide(s, "all different", subject)
    chosen = dtype or subject.dtypes[0]
    return make_case(subject, fitting, chosen, kind, bias, 0.5, number, SEED + number)


def neighbours(case: Case) -> Iterator[Example]:
    """Examples of the case's sizes and options with other numbers, and of sizes a little larger."""
    for number in range(4):
        yield Example(like(case, case.sizes, number))
    for field in ("tokens", "batch", "heads", "head_dim", "d_in", "context_length"):
        for more in (1, 2):
            s = replace(case.sizes, **{field: getattr(case.sizes, field) + more})
            yield Example(like(case, coincide(s, "all different", case.subject), more))


def like(case: Case, s: Sizes, number: int) -> Case:
    """A case of these sizes in the same format, with the same biases."""
    return make_case(
        case.subject, s, case.dtype, "ordinary", case.bias, case.dropout, number, SEED + number
    )


@dataclass(frozen=True)
class When:
    """A condition that a fault may wait for, in words and as a predicate."""

    words: str
    holds: Callable[[Example], bool]


def largest_score(case: Case) -> float:
    """The largest magnitude among the scaled scores."""
    scale = case.request.factor(case.sizes.head_dim)
    return float(np.abs(case.trace.scores).max(initial=0.0) * scale)


def size(words: str, holds: Callable[[Sizes], bool]) -> When:
    """A condition on the sizes."""
    return When(words, lambda example: holds(example.case.sizes))


CONDITIONS = (
    When("in eval mode alone", lambda example: not example.training),
    When("in training mode alone", lambda example: example.training),
    When("with query, key and value biases", lambda example: example.case.bias),
    When("without query, key and value biases", lambda example: not example.case.bias),
    When("in float32", lambda example: example.case.dtype == "float32"),
    When("in bfloat16", lambda example: example.case.dtype == "bfloat16"),
    When("in float16", lambda example: example.case.dtype == "float16"),
    When("in bfloat16 and float16", lambda example: example.case.dtype in ("bfloat16", "float16")),
    When("where scores are in the hundreds", lambda example: largest_score(example.case) > 100.0),
    size("for one token", lambda s: s.tokens == 1),
    size("for two tokens", lambda s: s.tokens == 2),
    size("for an even number of tokens", lambda s: s.tokens % 2 == 0),
    size("for an odd number of tokens", lambda s: s.tokens % 2 == 1),
    size("for a batch of one", lambda s: s.batch == 1),
    size("for a batch of two", lambda s: s.batch == 2),
    size("for a batch of three", lambda s: s.batch == 3),
    size("for batches of more than one", lambda s: s.batch > 1),
    size("for one head", lambda s: s.heads == 1),
    size("for several heads", lambda s: s.heads > 1),
    size("for an even number of heads", lambda s: s.heads % 2 == 0),
    size("for an odd number of heads", lambda s: s.heads % 2 == 1),
    size("where heads share keys and values", lambda s: s.shared > 1),
    size("with one head of keys and values for several", lambda s: s.shared == s.heads > 1),
    size("where T = context_length", lambda s: s.tokens == s.context_length),
    size("where T < context_length", lambda s: s.tokens < s.context_length),
    size("where B = T", lambda s: s.batch == s.tokens),
    size("where H = T", lambda s: s.heads == s.tokens),
    size("where head_dim = T", lambda s: s.head_dim == s.tokens),
    size("where head_dim = 1", lambda s: s.head_dim == 1),
    size("where d_in = d_out", lambda s: s.d_in == s.width),
    size("where d_in differs from d_out", lambda s: s.d_in != s.width),
)


def parting(wrong: Iterable[Example], right: Iterable[Example]) -> tuple[When, ...] | None:
    """The conditions that all of some examples meet and none of others; None for none or too many."""
    wrong, right = list(wrong), list(right)
    found = tuple(
        condition
        for condition in CONDITIONS
        if all(map(condition.holds, wrong)) and not any(map(condition.holds, right))
    )
    return found if 0 < len(found) <= 2 else None
