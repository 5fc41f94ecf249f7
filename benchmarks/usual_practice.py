"""What common practice sees of the same faults: `python benchmarks/usual_practice.py --jobs 2`.

Every practice is asked about every wrong implementation of `properties/zoo/faults` and every right one
of `properties/zoo/rights`, from a checkout. Prints a Markdown table of kills, false alarms and
seconds, then the faults that only a usual practice sees. A practice runs a module as any test of
one's own would, with weights it chooses; a module that raises on valid input fails it. What fails
on right attention is a false alarm, whatever the reason.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product

import hypothesis
import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases.case import Case, parameters
from properties.cases.strategies import coincide, make_case
from properties.recognition.targets import find
from properties.runs.result import Status
from properties.runs.runner import quiet_and_repeatable, run
from properties.subjects.subject import CAUSAL_FAMILIES, HEADED_FAMILIES, Subject
from properties.tests.test_attention_tables import INPUTS
from properties.truth.parameters import Sizes
from properties.zoo.faults import faults
from properties.zoo.rights import rights

REFERENCE = {
    "plain": "attention:SimplifiedSelfAttention",
    "self": "attention:SelfAttention_v2",
    "causal": "attention:CausalAttention",
    "wrapper": "attention:MultiHeadAttentionWrapper",
    "multihead": "attention:MultiHeadAttention",
}
HYPOTHESIS_EXAMPLES = 100


class Seen(Exception):
    """A practice found something wrong."""


def shape_check(subject: Subject) -> None:
    """One input, and the output has the shape that it should have."""
    case = example(subject, Sizes(2, 6, 8, 4, 4, 8), "float32")
    require(case.run().shape == (2, 6, case.sizes.width), "the shape")


def golden_table(subject: Subject) -> None:
    """Six tokens of three numbers, known weights, and the table that they give, to four decimals."""
    headed = subject.family in HEADED_FAMILIES
    case = example(subject, Sizes(2, 6, 3, 2 if headed else 1, 1 if headed else 2, 6), "float32")
    tokens = INPUTS.double().numpy()[:, : case.sizes.d_in]
    case = replace(case, x=np.stack([tokens, tokens]))
    require(close(case.run(), by_reference(case).run(), atol=1e-4), "the table")


def one_random_input(subject: Subject) -> None:
    """torch.allclose against another implementation with the same weights."""
    case = example(subject, Sizes(2, 16, 32, 4, 8, 32), "float32")
    require(close(case.run(), by_reference(case).run(), atol=1e-5), "the output")


def parameter_grid(subject: Subject) -> None:
    """Sizes x formats, outputs and gradients, judged as the tests of fused kernels judge them.

    The error may be twice that of a plain implementation in the same format, and what adding and
    taking away 0.3 changes: the bar of flash-attention's own tests.
    """
    heads = (1, 2, 4) if subject.family in HEADED_FAMILIES else (1,)
    formats = [dtype for dtype in ("float32", "bfloat16") if dtype in subject.dtypes]
    for b, t, h, d, dtype in product((1, 2), (1, 16, 33), heads, (8, 16), formats):
        case = example(subject, Sizes(b, t, 24, h, d, 40), dtype, bias=(h + d) % 4 == 1)
        plain = by_reference(case)
        truth = replace(plain, dtype="float64")
        for found, ordinary, true in zip(*map(numbers, (case, plain, truth)), strict=True):
            as_good(found, ordinary, true, getattr(torch, dtype))


def plain_hypothesis(subject: Subject) -> None:
    """The five laws that come to mind first, on a hundred random examples."""

    @hypothesis.seed(0)
    @settings(
        max_examples=HYPOTHESIS_EXAMPLES,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),  # a slow module is no finding
    )
    @given(st.tuples(*[st.integers(1, 8)] * 5), st.integers(0, 2**16))
    def laws(drawn: tuple[int, ...], seed: int) -> None:
        b, t, d_in, h, d = drawn
        case = example(subject, Sizes(b, t, d_in, h, d, t + 2), "float32", seed=seed)
        shape_and_determinism(case)
        values_stay_in_their_hull(case)
        if subject.family in CAUSAL_FAMILIES:
            no_future(case)
        if subject.family in HEADED_FAMILIES and case.known:
            require(close(case.run(), per_head(case), atol=1e-5), "heads one by one")

    laws()


def ours(subject: Subject, profile: str) -> None:
    """A run that stops at its first failure. Only what fails the run counts, so no SHOULD."""
    report = run(subject, profile=profile, fail_fast=True)
    failed = [*report.failed, *(r.clause for r in report.results if r.status is Status.ERROR)]
    require(not failed, ", ".join(failed))


PRACTICES: dict[str, Callable[[Subject], None]] = {
    "shape check": shape_check,
    "golden table": golden_table,
    "one random input, allclose": one_random_input,
    "parameter grid, twice the plain error": parameter_grid,
    "Hypothesis, five laws, 100 examples": plain_hypothesis,
    "ours, quick": partial(ours, profile="quick"),
    "ours, ci": partial(ours, profile="ci"),
}


def example(
    subject: Subject, sizes: Sizes, dtype: str, *, bias: bool = False, seed: int = 123
) -> Case:
    """Ordinary random numbers in these sizes, made to fit what the subject can take."""
    fitting = coincide(sizes, "all different", subject)
    return make_case(subject, fitting, dtype, "ordinary", bias, 0.5, fitting.tokens // 2, seed)


@cache
def reference(family: str) -> Subject:
    """The implementation that the usual practices compare with."""
    return find(REFERENCE[family], family)[0]


def by_reference(case: Case) -> Case:
    """The same example of the reference. Without weights there is nothing to compare."""
    if not case.known:
        raise Unable
    return replace(case, subject=reference(case.subject.family))


class Unable(Exception):
    """A practice that needs chosen weights, and an implementation that takes none."""


def numbers(case: Case) -> list[Array]:
    """Output, gradient of the input and gradients of the weights, those that can be told."""
    found = case.build().gradients(case.x, case.upstream)
    own = parameters(case.subject.collect(found, case.config()))
    weights = [own[name] for name in ("query", "key", "value") if name in own]
    return [case.run(), found["x"], *weights]


def as_good(found: Array, plain: Array, true: Array, dtype: torch.dtype) -> None:
    """An error of at most twice that of the plain implementation."""
    rounded = torch.tensor(true, dtype=dtype)
    slack = 2 * float((rounded + 0.3 - 0.3 - rounded).abs().max())
    allowed = 2 * np.abs(plain - true).max() + slack
    require(bool(np.abs(found - true).max() <= allowed), "the grid")


def shape_and_determinism(case: Case) -> None:
    """The shape, and twice the same in eval mode."""
    instance = case.build(dropout=0.5 if case.subject.has("dropout") else 0.0)
    first, second = instance.run(case.x, seed=1), instance.run(case.x, seed=2)
    require(first.shape == (*case.x.shape[:2], case.sizes.width), "the shape")
    require(np.array_equal(first, second), "determinism in eval mode")


def values_stay_in_their_hull(case: Case) -> None:
    """With an output projection that changes nothing, no context leaves the range of the values."""
    if not case.known:
        return
    if case.weights is not None and case.weights.out is not None:
        bias = case.weights.out_bias
        plain = replace(
            case.weights,
            out=np.eye(case.sizes.width),
            out_bias=None if bias is None else np.zeros_like(bias),
        )
        case = replace(case, weights=plain)
    values = case.x if case.weights is None else projected(case, "value")
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    output = case.run()
    require(bool(((output >= low - 1e-5) & (output <= high + 1e-5)).all()), "the hull")


def no_future(case: Case) -> None:
    """Other tokens after the cut, the same outputs up to it."""
    changed = case.x.copy()
    changed[:, case.cut + 1 :] = case.other[:, case.cut + 1 :]
    past = slice(0, case.cut + 1)
    require(close(case.run(changed)[:, past], case.run()[:, past], atol=1e-6), "the future")


def per_head(case: Case) -> Array:
    """Attention with one slice of the weights after the other."""
    w, s = case.weights, case.sizes
    if w is None:
        raise ValueError("the weights of this case are not known")
    hidden = np.triu(np.ones((s.tokens, s.tokens), dtype=bool), 1)
    parts = []
    for head in range(s.heads):
        own = slice(head * s.head_dim, (head + 1) * s.head_dim)
        query, key, value = (projected(case, n)[..., own] for n in ("query", "key", "value"))
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(s.head_dim)
        scores = np.where(hidden, -np.inf, scores)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        parts.append(weights / weights.sum(axis=-1, keepdims=True) @ value)
    context = np.concatenate(parts, axis=-1)
    output = context if w.out is None else context @ w.out
    return output if w.out_bias is None else output + w.out_bias


def projected(case: Case, name: str) -> Array:
    """The input through one projection, with its bias where the subject always has one."""
    bias = getattr(case.weights, f"{name}_bias")
    product: Array = case.x @ getattr(case.weights, name)
    return product if bias is None else product + bias


def close(found: Array, expected: Array, atol: float) -> bool:
    """torch.allclose."""
    return found.shape == expected.shape and np.allclose(found, expected, rtol=1e-5, atol=atol)


def require(holds: bool, what: str) -> None:
    """An assertion of the practice."""
    if not holds:
        raise Seen(what)


@dataclass(frozen=True)
class Answer:
    """What one practice says of one implementation: accused, or unable to ask; and the seconds."""

    name: str
    wrong: bool
    practice: str
    accused: bool
    unable: bool
    seconds: float


def ask(job: tuple[str, bool], practices: Sequence[str]) -> list[Answer]:
    """Every practice on one implementation."""
    name, wrong = job
    subject = find(faults()[name].module, faults()[name].family)[0] if wrong else right(name)
    return [answer(subject, name, wrong, practice) for practice in practices]


def right(name: str) -> Subject:
    """A right implementation by name."""
    return rights()[name].subject()


def answer(subject: Subject, name: str, wrong: bool, practice: str) -> Answer:
    """One practice on one implementation."""
    start = time.process_time()
    accused = unable = False
    with quiet_and_repeatable():
        try:
            PRACTICES[practice](subject)
        except (Seen, SubjectError):
            accused = True
        except Unable:
            unable = True
    return Answer(name, wrong, practice, accused, unable, time.process_time() - start)


def answers(
    jobs: Sequence[tuple[str, bool]], practices: Sequence[str], processes: int
) -> Iterator[Answer]:
    """All of them, from so many processes."""
    ready = partial(ask, practices=practices)
    if processes == 1:
        found: Iterable[list[Answer]] = map(ready, jobs)
        for each in found:
            yield from each
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for each in pool.map(ready, jobs):
            yield from each


def table(found: Sequence[Answer], practices: Sequence[str]) -> Iterator[str]:
    """Markdown: a line for each practice."""
    yield "| practice | faults seen | false alarms | seconds, median | worst |"
    yield "|---|---:|---:|---:|---:|"
    for practice in practices:
        own = [a for a in found if a.practice == practice]
        seen, alarms = ([a for a in own if a.wrong is wrong] for wrong in (True, False))
        seconds = [a.seconds for a in own]
        yield (
            f"| {practice} | {told(seen)} | {told(alarms)} "
            f"| {statistics.median(seconds):.2f} | {max(seconds):.1f} |"
        )


def told(found: Sequence[Answer]) -> str:
    """'3 of 7 (1 could not be asked)'."""
    unable = sum(a.unable for a in found)
    rest = f" ({unable} could not be asked)" if unable else ""
    return f"{sum(a.accused for a in found)} of {len(found)}{rest}"


def remarks(found: Sequence[Answer]) -> Iterator[str]:
    """Who was accused wrongly by what, and what a usual practice sees that ours do not."""
    own = {a.name for a in found if a.wrong and a.accused and a.practice.startswith("ours")}
    usual: dict[str, list[str]] = {}
    alarms: dict[str, list[str]] = {}
    for a in found:
        if a.accused and not a.wrong:
            alarms.setdefault(a.practice, []).append(a.name)
        elif a.accused and a.name not in own:
            usual.setdefault(a.name, []).append(a.practice)
    for practice, names in alarms.items():
        yield f"- false alarms of {practice}: {', '.join(names)}"
    for name, practices in usual.items():
        yield f"- {name} fails no MUST clause here, but {', '.join(practices)}"
    silent = [a.name for a in found if a.wrong and a.practice == "ours, quick" and not a.accused]
    yield f"- fail no MUST clause at quick (a SHOULD clause at most): {', '.join(silent) or 'none'}"


def sampled(names: Iterable[str], size: int | None) -> list[str]:
    """So many of them, evenly spread; all without a size."""
    known = list(names)
    if size is None or size >= len(known):
        return known
    return [known[number * len(known) // size] for number in range(size)]


def main() -> None:
    """Ask, and print the table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    options.add_argument("names", nargs="*", metavar="NAME", help="of faults; all if none is named")
    options.add_argument(
        "--faults", type=int, metavar="N", help="only N faults and N right implementations"
    )
    options.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")
    options.add_argument("--ci", action="store_true", help="profile ci of ours too; takes long")
    chosen = options.parse_args()
    unknown = set(chosen.names) - set(faults())
    if unknown:
        options.error(f"no such fault: {', '.join(sorted(unknown))}")
    practices = [name for name in PRACTICES if chosen.ci or name != "ours, ci"]
    wrong = [(name, True) for name in sampled(chosen.names or faults(), chosen.faults)]
    jobs = wrong + [(name, False) for name in sampled(rights(), chosen.faults)]
    start = time.perf_counter()
    found = list(answers(jobs, practices, chosen.jobs))
    print(*table(found, practices), "", *remarks(found), sep="\n")
    cpu = sum(a.seconds for a in found)
    print(f"\n{len(jobs)} implementations, {time.perf_counter() - start:.0f} s, CPU {cpu:.0f} s")


if __name__ == "__main__":
    main()
