"""The tails are exact or larger, the run's budget holds, and samples have the power they claim."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from properties.basics.assertions import Violation
from properties.cases.strategies import PROBABILITIES, pinned_cases
from properties.recognition.targets import find
from properties.runs.runner import run
from properties.spec.clauses import dropout_draws
from properties.spec.profiles import PROFILES
from properties.subjects.subject import Subject
from properties.truth import chance
from properties.zoo.faults.plain import PlainMultiHead, PlainSelf


def plain() -> Subject:
    return find(PlainMultiHead, "multihead")[0]


def exact_binomial_tail(hits: int, trials: int, probability: Fraction) -> Fraction:
    """By rational arithmetic."""
    return sum(
        (
            math.comb(trials, k) * probability**k * (1 - probability) ** (trials - k)
            for k in range(hits, trials + 1)
        ),
        start=Fraction(0),
    )


# Tails


@given(st.integers(1, 60), st.data(), st.sampled_from(PROBABILITIES))
def test_binomial_tail_is_exact(trials: int, data: st.DataObject, probability: float) -> None:
    """It equals the sum of the probabilities in rational arithmetic."""
    hits = data.draw(st.integers(0, trials))
    exact = exact_binomial_tail(hits, trials, Fraction(probability))
    assert math.exp(chance.log_binomial_tail(hits, trials, probability)) == pytest.approx(
        float(exact), rel=1e-11
    )


@pytest.mark.parametrize(
    ("hits", "trials", "probability", "tail"),
    [(0, 5, 0.3, 0.0), (6, 5, 0.3, -math.inf), (1, 5, 0.0, -math.inf), (5, 5, 1.0, 0.0)],
)
def test_binomial_tail_at_its_ends(hits: int, trials: int, probability: float, tail: float) -> None:
    """Certain and impossible counts, and probabilities of 0 and 1."""
    assert chance.log_binomial_tail(hits, trials, probability) == tail


def test_binomial_tail_far_out_is_finite() -> None:
    """All of 72,000 draws dropped at p = 0.1: a probability that no float holds."""
    tail = chance.log_binomial_tail(chance.DRAWS, chance.DRAWS, 0.1)
    assert tail == pytest.approx(chance.DRAWS * math.log(0.1), rel=1e-12)


def test_match_tail_bounds_every_table_of_scores() -> None:
    """For tables of random scores, with ties and without, and all orders of five calls."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = rng.integers(0, rng.integers(2, 50), size=(5, 5))
        unique = [np.flatnonzero(row == row.max()) for row in scores]
        counts = [
            sum(
                len(best) == 1 and best[0] == place
                for best, place in zip(unique, order, strict=True)
            )
            for order in permutations(range(5))
        ]
        for k in range(1, 6):
            share = sum(count >= k for count in counts) / len(counts)
            assert share <= math.exp(chance.log_match_tail(k)) + 1e-12


@pytest.mark.parametrize(
    ("elements", "classes", "ways"), [(4, 2, 7), (5, 5, 1), (6, 3, 90), (3, 0, 0)]
)
def test_partitions_are_stirling_numbers(elements: int, classes: int, ways: int) -> None:
    """Counted by hand."""
    assert chance.partitions(elements, classes) == ways


def test_repetition_tail_bounds_the_probability() -> None:
    """Over all patterns of three draws in three calls at p = 1/2, for every number of classes."""
    every = list(product(product((False, True), repeat=3), repeat=3))
    tails = []
    for calls in every:
        kinds = {pattern: calls.count(pattern) for pattern in calls}
        log = sum((1 - n) * chance.log_choices(3, sum(pattern)) for pattern, n in kinds.items())
        tails.append(math.exp(log) * chance.partitions(3, len(kinds)) * 2)
    for bound in {tail for tail in tails if tail < 1}:
        assert sum(tail <= bound for tail in tails) / len(tails) <= bound + 1e-12


# Budget


def test_a_run_stays_within_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """No example asks more often than the budget foresees, in the profile with the most of them."""
    asked: Counter[str] = Counter()
    now = [""]
    confirmed = chance.confirmed

    def counting(law: Callable[[int], float]) -> float:
        asked[now[0]] += 1
        return confirmed(law)

    def listen(phase: str, done: int, total: int) -> None:
        now[0] = phase

    monkeypatch.setattr(chance, "confirmed", counting)
    report = run(plain(), profile="quick", only=["dropout"], listen=listen)
    examples = {result.clause: result.examples for result in report.results}
    assert asked
    assert all(asked[id] <= examples[id] for id in asked)
    most = max(profile.drawn for profile in PROFILES.values()) + len(pinned_cases(plain()))
    assert len(asked) * most <= chance.CHECKS
    assert chance.CHECKS * chance.PER_SAMPLE**2 <= chance.RUN * (1 + 1e-12)


class DroppingSelf(PlainSelf):
    """One head, nothing hidden, with dropout on its weights."""

    def __init__(self, d_in: int, d_out: int, dropout: float, qkv_bias: bool = False) -> None:
        super().__init__(d_in, d_out, qkv_bias)
        self.dropout = nn.Dropout(dropout)

    def normalise(self, scores: Tensor) -> Tensor:
        weights: Tensor = self.dropout(super().normalise(scores))
        return weights


@pytest.mark.parametrize(
    ("module", "family"), [(PlainMultiHead, "multihead"), (DroppingSelf, "self")]
)
def test_samples_hold_as_many_draws_as_are_counted(module: type[nn.Module], family: str) -> None:
    """What is hidden is no draw: enough are left for the power, and no more than are needed."""
    case = pinned_cases(find(module, family)[0])[0]
    seen = dropout_draws.crowd(case, 0.5).seen
    assert chance.DRAWS <= seen.sum() < 1.1 * chance.DRAWS
    assert dropout_draws.draws(case).seen[0].sum() == dropout_draws.draws_in_a_call(case)


def test_a_law_must_break_twice() -> None:
    """The second sample is drawn only if the first one breaks the law, and decides."""
    asked = []

    def law(sample: int) -> float:
        asked.append(sample)
        if sample < breaks:
            raise Violation("chance", "none", {})
        return 0.5

    breaks = 0
    assert chance.confirmed(law) == 0.5
    breaks = 1
    assert chance.confirmed(law) == 0.5
    breaks = 2
    with pytest.raises(Violation):
        chance.confirmed(law)
    assert asked == [0, 0, 1, 0, 1]


# Power


def least_accused(trials: int, probability: float) -> int:
    """The smallest number of hits above the mean that a sample accuses, by bisection."""
    low, high = math.ceil(trials * probability), trials
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if accuses(middle, trials, probability) else (middle + 1, high)
    return low


def accuses(hits: int, trials: int, probability: float) -> bool:
    counts = np.asarray(hits, float), np.asarray(trials, float)
    try:
        chance.rates("", *counts, probability, others=2)
    except Violation:
        return True
    return False


@pytest.mark.parametrize("probability", PROBABILITIES)
@pytest.mark.parametrize("shift", [0.02, -0.02])
def test_a_probability_off_by_two_percent_is_seen(probability: float, shift: float) -> None:
    """With probability 0.999 by one example, both samples counted."""
    trials = chance.DRAWS
    if shift < 0:  # the same for the complement
        probability = 1.0 - probability
    hits = least_accused(trials, probability)
    power = math.exp(chance.log_binomial_tail(hits, trials, probability + 0.02))
    assert power**2 >= 0.999


@pytest.mark.parametrize("probability", PROBABILITIES)
def test_a_rate_of_eight_bits_is_not_accused(probability: float) -> None:
    """The kernels that take a random byte for p err within the budget, as exact ones do."""
    trials = chance.DRAWS
    hits = least_accused(trials, probability)
    for rate in (probability, round(probability * 256) / 256, math.ceil(probability * 256) / 256):
        assert chance.log_binomial_tail(hits, trials, rate) <= math.log(chance.PER_SAMPLE)


def bits(seed: int, *shape: int, p: float = 0.5) -> chance.Bits:
    return np.random.default_rng(seed).random(shape) < p


@pytest.mark.parametrize("p", PROBABILITIES)
def test_independent_patterns_pass(p: float) -> None:
    """Independent bits, at any rate."""
    drawn = bits(0, 4, 16, 60, p=p)
    assert chance.independent("", drawn, np.ones_like(drawn)) <= 1.0


def test_independence_does_not_ask_for_a_rate_nor_for_other_axes() -> None:
    """Patterns whose bits are unlike each other, or the same twice over, are independent still."""
    rates = np.linspace(0.0, 1.0, 40)
    uneven = np.random.default_rng(1).random((4, 16, 40)) < rates
    doubled = np.repeat(bits(2, 4, 16, 30), 8, axis=-1)
    for drawn in (uneven, doubled):
        assert chance.independent("", drawn, np.ones_like(drawn)) <= 1.0


def broken(drawn: chance.Bits) -> None:
    with pytest.raises(Violation, match="to be independent"):
        chance.independent("the weights dropped for head", drawn, np.ones_like(drawn))


@pytest.mark.parametrize("p", PROBABILITIES)
def test_a_shared_pattern_is_seen(p: float) -> None:
    """By all, by one pair of six, or in three of four bits."""
    drawn = bits(3, 6, 16, 60, p=p)
    broken(np.repeat(drawn[:1], 6, axis=0))
    pair = drawn.copy()
    pair[5] = pair[2]
    broken(pair)
    partly = drawn.copy()
    partly[1, :, :45] = partly[0, :, :45]
    broken(partly)


def test_opposite_patterns_and_fixed_numbers_are_seen() -> None:
    """What one drops the other keeps; or each row drops as many."""
    drawn = bits(4, 2, 16, 40)
    drawn[1] = ~drawn[0]
    broken(drawn)
    order = np.random.default_rng(5).random((6, 16, 40)).argsort(axis=0)
    broken(order < 3)


def test_hidden_draws_do_not_count() -> None:
    """A pattern that is shared where nothing can be seen is not shared."""
    drawn = bits(6, 3, 16, 80)
    drawn[..., 40:] = True
    seen = np.ones_like(drawn)
    seen[..., 40:] = False
    assert chance.independent("", drawn, seen) <= 1.0


@pytest.mark.parametrize("p", PROBABILITIES)
def test_patterns_that_come_again_are_seen(p: float) -> None:
    """All the same, or each of them twice; and others pass."""
    drawn = bits(7, 16, 60, p=p)
    assert chance.repeated("", drawn, np.ones_like(drawn)) <= 1.0
    for again in (np.repeat(drawn[:1], 16, axis=0), np.repeat(drawn[:8], 2, axis=0)):
        with pytest.raises(Violation, match="others each time"):
            chance.repeated("the weights dropped", again, np.ones_like(again))


def test_few_draws_are_not_accused_of_repeating() -> None:
    """One weight in sixteen calls has two patterns only."""
    drawn = bits(8, 16, 1)
    assert chance.repeated("", drawn, np.ones_like(drawn)) <= 1.0
    assert not chance.tells_repeating(1, 0.5, 16)
    assert chance.tells_repeating(60, 0.1, 16)


@pytest.mark.parametrize("p", PROBABILITIES)
@pytest.mark.parametrize("draws", [10, 30, 100])
def test_what_is_said_to_tell_sharing_does(p: float, draws: int) -> None:
    """Where an example counts, a pattern shared by a pair is seen nine times in ten at least."""
    if not chance.tells_sharing(draws, p, 16, 3):
        return
    seen = 0
    for seed in range(100):
        drawn = bits(seed, 2, 16, draws, p=p)
        drawn[1] = drawn[0]
        try:
            chance.independent("", drawn, np.ones_like(drawn))
        except Violation:
            seen += 1
    assert seen >= 90


def test_a_count_may_be_off_by_its_slack() -> None:
    """What rounding may have added is taken off before it is judged."""
    trials = np.asarray(10_000.0)
    with pytest.raises(Violation, match="about 5000 of 10000"):
        chance.rates("weights dropped at p =", np.asarray(6_000.0), trials, 0.5)
    assert chance.rates("", np.asarray(6_000.0), trials, 0.5, slack=1_000.0) == 0.0


def test_the_worst_count_is_named() -> None:
    """The message says where it is and how unlikely."""
    hits = np.array([[50.0, 48.0], [100.0, 53.0]])
    with pytest.raises(Violation) as caught:
        chance.rates("weights dropped at p =", hits, np.full((2, 2), 100.0), 0.5, "head key")
    assert caught.value.where == {"head": 1, "key": 0}
    assert "1 in 1e30" in str(caught.value)
