"""How unlikely is unlikely: exact tails for the laws about dropout, and a run's false alarms.

A law about chance is judged by one number: the probability that a right implementation does what
was seen, or something further off. Nothing is approximated by a bell curve: the tails are sums of
the binomial and the hypergeometric distribution, in logarithms, as they may be far below 1e-308.

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
from collections.abc import Callable
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from properties.assertions import Violation
from properties.dtypes import Array

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
    what: str, hits: Array, trials: Array, probability: float, axes: str, slack: float = 0.0
) -> float:
    """Every count of hits among its trials is one that p = `probability` explains.

    Returns the worst share. `axes` names the axes of `hits`, for the message; each count may be off
    by `slack`, where it was not counted but computed.
    """
    low, high = max(0.0, probability - RESOLUTION), min(1.0, probability + RESOLUTION)
    deviation = np.abs(hits - probability * trials) / np.sqrt(np.maximum(trials, 1))
    worst = np.unravel_index(int(np.argmax(deviation)), hits.shape) if hits.size else None
    if worst is None:
        return 0.0
    n, seen = round(float(trials[worst])), float(hits[worst])
    if seen > n * probability:
        tail = log_binomial_tail(math.ceil(max(seen - slack, n * probability)), n, high)
    else:
        dropped = math.ceil(max(n - seen - slack, n * (1.0 - probability)))
        tail = log_binomial_tail(dropped, n, 1.0 - low)
    return judged(
        share(tail + math.log(2.0), hits.size),
        f"{what} {probability:.4g}: about {n * probability:.0f} of {n}",
        f"{seen:.6g}, {odds(tail)}",
        dict(zip(axes.split(), map(int, worst), strict=True)),
    )


def independent(what: str, dropped: Bits, seen: Bits, *, others: int = 1) -> float:
    """The patterns along the first axis are independent of each other, each pair of them.

    dropped: what was dropped; seen: what could be seen to be dropped, of the same shape; others:
    how many such comparisons are made on this sample. Returns the worst share.

    Of the n draws that both members of a pair have, one dropped a, the other b. If they are
    independent, each choice of b draws is as likely as any other, so the number that both dropped
    is hypergeometric, whatever p is: a wrong rate is another law's.
    """
    size = len(dropped)
    lost, open_ = (part.reshape(size, -1).astype(np.float64) for part in (dropped & seen, seen))
    both, ones, trials = lost @ lost.T, lost @ open_.T, open_ @ open_.T
    pairs = list(combinations(range(size), 2))
    with np.errstate(all="ignore"):
        mean = ones * ones.T / trials
        spread = mean * (1.0 - ones / trials) * (1.0 - ones.T / trials)
        deviation = np.nan_to_num(np.abs(both - mean) / np.sqrt(spread), posinf=0.0)
    if not pairs:
        return 0.0
    i, j = max(pairs, key=lambda pair: deviation[pair])
    n, a, b, k = (round(float(part)) for part in (trials[i, j], ones[i, j], ones[j, i], both[i, j]))
    tail = log_overlap_tail(k, a, b, n)
    expected = a * b / n if n else 0.0
    return judged(
        share(tail + math.log(2.0), len(pairs) * others),
        f"{what} {i} and {j} to be independent: of {n} draws that dropped {a} and {b}, "
        f"about {expected:.0f} dropped by both",
        f"{k}, {odds(tail)}",
        {},
    )


def judged(used: float, expected: str, actual: str, where: dict[str, int]) -> float:
    """The share, if it is one; a Violation if it is more."""
    if used > 1.0:
        raise Violation(expected, actual, where)
    return used


def tells_sharing(draws: int, probability: float, comparisons: int) -> bool:
    """Whether two copies of one pattern would be told from two patterns.

    With half as many of the rarer outcome as are expected among so many draws, to be on the safe
    side.
    """
    rare = int(draws * min(probability, 1.0 - probability) / 2)
    tail = log_overlap_tail(rare, rare, rare, draws)
    return share(tail + math.log(2.0), comparisons) > 1.0


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


def log_overlap_tail(both: int, first: int, second: int, total: int) -> float:
    """The logarithm of the smaller tail of the hypergeometric distribution at `both`.

    That is the probability that `second` of `total` draws, chosen at random, meet `first` marked
    ones at least, or at most, so many times; the side is that on which `both` lies.
    """
    start = log_choices(first, both) + log_choices(total - first, second - both)
    start -= log_choices(total, second)
    rest = total - first - second
    if both * total >= first * second:
        return log_series(
            start, both, lambda k: (first - k) * (second - k) / ((k + 1) * (rest + k + 1))
        )
    return log_series(
        start,
        -both,
        lambda k: (-k) * (rest - k) / ((first + k + 1) * (second + k + 1)),
    )


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
