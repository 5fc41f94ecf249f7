"""How unlikely is unlikely: exact tails for the laws about dropout, and a run's false alarms.

A law about chance is judged by one number: the probability that a right implementation does what
was seen, or something further off. Nothing is approximated by a bell curve. Numbers of dropped
weights have binomial tails; independence is judged by the order of calls, equality by counting
patterns. All is done in logarithms, as a tail may be far below 1e-308.

**Budget.** A run accuses a right implementation by chance with probability at most RUN = 1e-9. It
looks at chance at most CHECKS times (clauses about chance times examples, of every format; a test
counts them), so each check may err with probability RUN / CHECKS. A check errs only if the law is
broken on one sample and then on a second one that is drawn afresh (`confirmed`). So each sample may
err with the root of that, 2.5e-7, which makes smaller samples do. The second sample also keeps the
generator's own coincidences out: torch seeds some of its kernels with 31 bits, so that two calls
share a pattern once in 2e9. Comparing k counts on one sample costs a factor k (Bonferroni).

**Resolution.** Some kernels compare p with a random byte, and `torch.rand` in bfloat16 has 8 bits.
Such a rate is within 2**-8 of p and right; any probability that near is taken for p.

Legend: p the probability of being dropped.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from properties.basics.assertions import Violation
from properties.basics.dtypes import Array

RUN = 1e-9
CHECKS = 2**14
PER_SAMPLE = math.sqrt(RUN / CHECKS)
RESOLUTION = 2.0**-8

DRAWS = 72_000
"""Draws that see p off by 0.02 with probability 0.999, both samples counted, whatever p is.

At p = 1/2, the hardest, 0.02 - RESOLUTION = 0.0161 must exceed the 5.2 standard deviations that
PER_SAMPLE allows by the 3.3 that a miss in 2000 needs: n = (8.5 * 0.5 / 0.0161)**2. A test computes
it exactly."""

Bits = NDArray[np.bool_]
Numbers = NDArray[np.int_]


def confirmed(law: Callable[[int], float]) -> float:
    """law(0), the law on a first sample; where that is broken, law(1), on one drawn afresh."""
    try:
        return law(0)
    except Violation:
        return law(1)


def share(log_tail: float, comparisons: int) -> float:
    """The surprise as a share of what one sample may show; above 1 it is no chance any more."""
    return max(0.0, (log_tail + math.log(max(1, comparisons))) / math.log(PER_SAMPLE))


def rates(
    what: str,
    hits: Array,
    trials: Array,
    probability: float,
    axes: str = "",
    *,
    slack: float = 0.0,
    others: int = 1,
) -> float:
    """Every count of hits among its trials is one that p = `probability` explains.

    Returns the worst share. axes: names of the axes of `hits`, for the message; slack: what a count
    may be off by, where it was not counted but computed; others: how many such comparisons are made
    on this sample.
    """
    if not hits.size or slack == math.inf:  # then nothing is claimed
        return 0.0
    deviation = np.abs(hits - probability * trials) / np.sqrt(np.maximum(trials, 1))
    worst = np.unravel_index(int(np.argmax(deviation)), hits.shape)
    n, seen = round(float(trials[worst])), float(hits[worst])
    rate, count = probability, seen
    if seen < n * probability:  # then the complement is what there is too much of
        rate, count = 1.0 - probability, n - seen
    least = math.ceil(max(count - slack, n * rate))
    tail = log_binomial_tail(least, n, min(1.0, rate + RESOLUTION))
    return judged(
        share(tail + math.log(2.0), hits.size * others),
        f"{what} {probability:.4g}: about {n * probability:.0f} of {n}",
        f"{seen:.6g}, {odds(tail)}",
        dict(zip(axes.split(), map(int, worst), strict=True)),
    )


def independent(what: str, dropped: Bits, seen: Bits) -> float:
    """The patterns along the first axis are independent, each pair and each of all others together.

    dropped: what was dropped, (S, C, ...) in C calls that are independent of each other; seen: what
    could be seen to be dropped, of the same shape. Returns the worst share.

    If A and B are independent, B's patterns might as well have come in any other order: all C!
    orders are equally likely. A call in which B's pattern is nearer to A's than B's pattern of any
    other call is called a match. For any k calls, at most (C - k)! orders match all of them, so k
    matches are as likely as 1 in k! at most, by the number of ways to choose k of C. The same goes
    for the farthest pattern, and whatever near means. Nothing is assumed about the bits of one
    pattern: neither a rate, nor that it is the same everywhere, nor that other axes share nothing.
    """
    size, calls = dropped.shape[:2]
    if size < 2 or not dropped.size:
        return 0.0
    first, second = np.triu_indices(size, k=1)
    scores = np.concatenate(nearness(dropped, seen, first, second))  # (comparison, C, C)
    names = [f"{i} and {j}" for i, j in zip(first, second, strict=True)]
    names += [f"{i} and all others" for i in range(size)]
    same = np.diagonal(scores, axis1=1, axis2=2)
    diagonal = np.eye(calls, dtype=bool)
    nearest = (same > np.where(diagonal, -np.inf, scores).max(axis=2)).sum(axis=1)
    farthest = (same < np.where(diagonal, np.inf, scores).min(axis=2)).sum(axis=1)
    worst = int(np.argmax(np.maximum(nearest, farthest)))
    matches = int(max(nearest[worst], farthest[worst]))
    tail = log_match_tail(matches)
    extreme = "nearest" if nearest[worst] >= farthest[worst] else "farthest"
    return judged(
        share(tail + math.log(2.0), len(scores)),
        f"{what} {names[worst]} to be independent: the {extreme} patterns of {calls} calls to come "
        "in the same call about once",
        f"{matches} times, {odds(tail)}",
        {},
    )


def nearness(dropped: Bits, seen: Bits, first: Numbers, second: Numbers) -> tuple[Array, Array]:
    """How near the pattern of one call is to that of another, (C, C) for each comparison.

    Of two patterns: the draws that they agree on. Of one and all others together: the covariance
    of being dropped with the number of others dropped, negative where that is fixed in each row.
    """
    shape = (*dropped.shape[:2], -1)
    shown = seen.any(axis=(0, 1)).ravel()
    open_, lost, kept = (
        part.reshape(shape)[..., shown].astype(np.float32)
        for part in (seen, dropped & seen, ~dropped & seen)
    )
    # Stacks of small products: a large one would wait for threads.
    agreed = lost[first] @ lost[second].swapaxes(1, 2) + kept[first] @ kept[second].swapaxes(1, 2)
    others = (lost.sum(axis=0) - lost) * open_
    trials = np.maximum(open_.sum(axis=2), 1.0)[:, :, None]
    mean = lost.sum(axis=2)[:, :, None] * others.sum(axis=2)[:, None, :] / trials
    return agreed, lost @ others.swapaxes(1, 2) - mean


def repeated(what: str, dropped: Bits, seen: Bits) -> float:
    """The patterns along the first axis, (C, ...), do not come again.

    If n draws are independent and a of them were dropped, each choice of a draws is as likely as
    any other, whatever p is, so the very same pattern has a probability of 1 in n over a at most.
    Where the C calls fall into k classes of equal patterns, the probabilities of all repetitions
    are multiplied, and their product times the number of ways to put C calls into k classes, the
    Stirling number, and times C - 1 for the choice of k, is a bound on the tail.
    """
    calls = len(dropped)
    patterns = (dropped & seen).reshape(calls, -1)
    classes = Counter(pattern.tobytes() for pattern in patterns)
    n = int(seen[:1].sum())
    tail = sum(
        (1 - count) * log_choices(n, sum(pattern))
        for pattern, count in classes.items()
        if count > 1
    )
    return judged(
        repetition_share(tail, calls, len(classes)),
        f"{what} to be others each time",
        f"{len(classes)} different patterns of {n} in {calls} calls, {odds(tail)}",
        {},
    )


def repetition_share(log_tail: float, calls: int, classes: int) -> float:
    """The surprise of a repetition as a share, for all ways in which so many might have come."""
    return share(log_tail + math.log(partitions(calls, classes)), calls - 1)


@cache
def partitions(elements: int, classes: int) -> int:
    """The number of ways to put elements into so many classes: Stirling's, of the second kind."""
    if elements == classes:
        return 1
    if not 0 < classes < elements:
        return 0
    smaller = elements - 1
    return classes * partitions(smaller, classes) + partitions(smaller, classes - 1)


def judged(used: float, expected: str, actual: str, where: dict[str, int]) -> float:
    """The share, if it is one; a Violation if it is more."""
    if used > 1.0:
        raise Violation(expected, actual, where)
    return used


def tells_sharing(draws: int, probability: float, calls: int, comparisons: int) -> bool:
    """Whether a pattern of so many draws that a pair shares would be told.

    Each call is a match unless its pattern comes again in another call, which has a probability of
    (p**2 + (1 - p)**2)**n; with so many matches as are then expected, less two, to be on the safe
    side.
    """
    equal = (probability**2 + (1.0 - probability) ** 2) ** draws
    expected = int(calls * (1.0 - equal) ** (calls - 1)) - 2
    return share(log_match_tail(max(0, expected)) + math.log(2.0), comparisons) > 1.0


def tells_repeating(draws: int, probability: float, calls: int) -> bool:
    """Whether patterns of so many draws that come twice each would be told.

    With half as many of the rarer outcome as are expected, to be on the safe side.
    """
    rare = int(draws * min(probability, 1.0 - probability) / 2)
    tail = -(calls // 2) * log_choices(draws, rare)
    return repetition_share(tail, calls, calls // 2) > 1.0


def odds(log_tail: float) -> str:
    """A probability in words."""
    return f"as likely as 1 in 1e{-log_tail / math.log(10.0):.0f}"


def log_binomial_tail(hits: int, trials: int, probability: float) -> float:
    """The logarithm of P(X >= hits) for X binomial."""
    if hits <= 0:
        return 0.0
    if hits > trials or probability <= 0.0:
        return -math.inf
    if probability >= 1.0:
        return 0.0
    first = log_choices(trials, hits) + hits * math.log(probability)
    first += (trials - hits) * math.log1p(-probability)
    against = probability / (1.0 - probability)
    return log_series(first, hits, lambda k: (trials - k) / (k + 1) * against)


def log_match_tail(number: int) -> float:
    """The logarithm of 1 / k!, a bound on the probability that a random order matches k places."""
    return -math.lgamma(number + 1)


def log_series(first: float, index: int, ratio: Callable[[int], float]) -> float:
    """The logarithm of a sum: exp(first) and its successors, each the last one times its ratio.

    The ratios fall, so once they are below 1 the rest is below a geometric series.
    """
    total = term = 1.0
    while (factor := ratio(index)) > 0.0:
        term *= factor
        total += term
        index += 1
        if factor < 1.0 and term * factor / (1.0 - factor) < total * 2.0**-60:
            break
    return min(0.0, first + math.log(total))


def log_choices(n: int, k: int) -> float:
    """The logarithm of n over k."""
    if not 0 <= k <= n:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
