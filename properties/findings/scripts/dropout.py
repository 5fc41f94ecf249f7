"""Scripts about chance: several calls in training, and a law about what they drop.

The weights are read from the outputs of a probe: with one-hot values, the output is the weights.

Legend: C calls, B batch, T tokens, H heads, D head_dim, R readings of each weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product

import numpy as np

from properties.basics.assertions import Violation
from properties.basics.dtypes import Array
from properties.cases import budgets
from properties.cases.case import Case
from properties.findings.recording import Tape, built
from properties.findings.scripts import text
from properties.findings.scripts.asking import given, one_item
from properties.findings.scripts.recipes import recipe
from properties.findings.scripts.script import HELPERS, Script, construct
from properties.spec.clauses import dropout_draws as samples
from properties.spec.clauses import dropout_lanes as lanes
from properties.spec.clauses.dropout_chance import RARE, SEEDED
from properties.spec.clauses.dropout_draws import AXES, SEEDS, Training
from properties.truth import chance

HELPERS["weights"] = '''
def weights(output, heads, tokens, readings=1):
    """The weights that an output (..., T, H * D) shows: (..., H, T, readings, T)."""
    shown = output.to(torch.float64).unflatten(-1, (heads, -1)).transpose(-2, -3)
    return shown[..., : readings * tokens].unflatten(-1, (readings, tokens))
'''
HELPERS["plain_weights"] = '''
def plain_weights(output, tokens, readings=1):
    """The weights that an output (..., T, columns) shows last: (..., 1, T, readings, T)."""
    shown = output.to(torch.float64).unsqueeze(-3)
    return shown[..., -readings * tokens :].unflatten(-1, (readings, tokens))
'''
HELPERS["matches"] = '''
def matches(lost, seen):
    """Of how many calls the patterns of any two of lost (S, C, draws) are nearest, or farthest."""
    calls, most = lost.shape[1], 0
    lost, kept, seen = lost.double(), (~lost & seen).double(), seen.double()
    same = torch.eye(calls, dtype=torch.bool)
    for i in range(len(lost)):
        others = (lost.sum(0) - lost[i]) * seen[i]
        mean = lost[i].sum(1)[:, None] * others.sum(1) / seen[i].sum(1).clamp(min=1)[:, None]
        scores = [lost[i] @ others.T - mean]
        scores += [lost[i] @ lost[j].T + kept[i] @ kept[j].T for j in range(i)]
        for score in scores:
            own = score.diagonal()
            nearest = (own > score.masked_fill(same, -torch.inf).amax(1)).sum()
            farthest = (own < score.masked_fill(same, torch.inf).amin(1)).sum()
            most = max(most, int(nearest), int(farthest))
    return most
'''


def drawn(run: Training, seed: int, count: int) -> Script:
    """The probe; in `drawn` the weights of `count` calls in training, in `still` those in eval."""
    probe = run.probe
    script = Script(probe.subject)
    module = script.build(built(probe, run.dropout))
    x = given(script, probe)
    calls = f"[{module}({x}) for _ in range({count})]"
    if not probe.subject.has("batched"):
        x, calls = "x[None]", f"[{module}({x})[None] for _ in range({count})]"
    script.add(
        f"p = {run.dropout}",
        f"torch.manual_seed({seed})",
        "with torch.no_grad():",
        f"    {module}.train()",
        f"    drawn = {read(run)}torch.stack({calls}){rest(run)}",
        f"    {module}.eval()",
        f"    still = {read(run)}{module}(x){'' if x == 'x' else '[None]'}{rest(run)}",
    )
    return script


def read(run: Training) -> str:
    """The name of the function that reads the weights, and its bracket."""
    return "plain_weights(" if run.probe.subject.family == "plain" else "weights("


def rest(run: Training) -> str:
    """The other arguments of that function."""
    s = run.probe.sizes
    heads = "" if run.probe.subject.family == "plain" else f", {s.heads}"
    return f"{heads}, {s.tokens}, {run.readings})"


def marked(script: Script) -> None:
    """Which weights were dropped, of those that are not hidden, in draws with equal scores."""
    script.add(
        "seen = (still > 0.5 / still.shape[-1])[..., 0, :].expand(drawn[..., 0, :].shape)",
        "lost = (drawn.abs() < 0.5 * (1 - p) * still)[..., 0, :] & seen",
    )


def first_item(run: Training, array: Array) -> Array:
    """Without the batch items that the script does not run."""
    return array if run.probe.subject.has("batched") else array[:1]


def known(script: Script, run: Training) -> None:
    """`apart`, how far undropped weights may be off, `dropped`, and `lost`: those and exact zeros."""
    script.add(
        f"apart = {text.slack(first_item(run, run.allowed))}  # rounding of the undropped weights",
        "dropped = drawn.abs() < 0.5 * (1 - p) * (still - apart)",
        "lost = dropped | (drawn == 0)",
    )


@recipe("dropout/survivors-are-exactly-scaled")
def survivors(case: Case, tape: Tape) -> Iterator[Script]:
    """A weight is zero or w / (1 - p)."""
    run = samples.training(case)
    script = drawn(run, case.seed, samples.OWN_CALLS)
    known(script, run)
    script.add(
        f"allowed = {text.slack(first_item(run, run.scaled[1]))}",
        "near(drawn, torch.where(lost, drawn, still / (1 - p)), allowed)",
    )
    yield script


@recipe("dropout/dropped-are-exactly-zero")
def zeros(case: Case, tape: Tape) -> Iterator[Script]:
    """What is dropped is exactly zero."""
    run = samples.training(case)
    script = drawn(run, case.seed, samples.OWN_CALLS)
    known(script, run)
    script.add("near(drawn, torch.where(dropped, 0.0, drawn), 0.0)")
    yield script


@recipe("dropout/acts-on-weights-only")
def weights_only(case: Case, tape: Tape) -> Iterator[Script]:
    """All columns of a weight are dropped or none, and a weight is the same in every call."""
    run = samples.training(case)
    script = drawn(run, case.seed, samples.OWN_CALLS)
    known(script, run)
    script.add(
        "apart = (dropped[..., 0, :] != dropped[..., 1, :]).nonzero().tolist()",
        "assert not apart, f'expected a weight dropped in all columns or in none; not so at {apart[0]}'",
    )
    steady(script, run)
    yield script


@recipe("dropout/not-renormalised")
def not_renormalised(case: Case, tape: Tape) -> Iterator[Script]:
    """With equal scores a surviving weight is one number."""
    run = samples.draws(case)
    script = drawn(run, case.seed, len(run.outputs))
    known(script, run)
    steady(script, run)
    yield script


def steady(script: Script, run: Training) -> None:
    """A weight is the same number in every call that it survives in."""
    script.add(
        "first = (~lost).int().argmax(0, keepdim=True)  # the call in which it survives first",
        "expected = torch.where(lost, drawn, drawn.gather(0, first).expand_as(drawn))",
        f"allowed = {text.slack(2.0 * first_item(run, run.scaled[1]))}",
        "near(drawn, expected, allowed)",
    )


@recipe("dropout/no-weight-is-exempt")
def no_weight_is_exempt(case: Case, tape: Tape) -> Iterator[Script]:
    """Of some group of weights too many or too few were dropped."""
    for sample in range(2):
        d = samples.draws(case, sample)
        bits = d.bits & d.seen
        groups = ((), *((axis,) for axis in AXES), ("query", "key"))
        for group in groups:
            rest = tuple(n for n, axis in enumerate(AXES) if axis not in group)
            hits, trials = bits.sum(axis=rest, dtype=float), d.seen.sum(axis=rest, dtype=float)
            comparisons = hits.size * len(groups)
            for place in np.ndindex(*hits.shape):
                low, high = interval(int(trials[place]), d.dropout, comparisons)
                if low <= hits[place] <= high:
                    continue
                where = dict(zip(group, place, strict=True))
                index = ", ".join(str(where.get(axis, ":")) for axis in AXES)
                script = drawn(d, case.seed + sample * SEEDS, len(d.outputs))
                marked(script)
                counted(script, f"lost[{index}]", f"seen[{index}]", low, high)
                yield script


def counted(script: Script, lost: str, seen: str, low: float, high: float) -> None:
    """How many were dropped, and how many may have been."""
    script.add(
        f"count, among = int({lost}.sum()), int({seen}.sum())  # axes: {' '.join(AXES)}",
        "# What is outside has a probability below 1 in a million.",
        f"assert {low} <= count <= {high}, (",
        f"    f'expected {low} to {high} of {{among}} weights dropped at p = {{p}}, got {{count}}'",
        ")",
    )


@cache
def interval(trials: int, probability: float, comparisons: int) -> tuple[int, int]:
    """The smallest and the largest number of hits that chance explains."""

    def explained(hits: float) -> bool:
        seen, among = np.asarray(hits, float), np.asarray(trials, float)
        try:
            chance.rates("", seen, among, probability, others=comparisons)
        except Violation:
            return False
        return True

    middle = round(trials * probability)
    return last(explained, middle, 0), last(explained, middle, trials)


def last(holds: Callable[[int], bool], start: int, end: int) -> int:
    """The number furthest from `start` towards `end` for which it still holds."""
    if holds(end):
        return end
    while abs(end - start) > 1:
        middle = (start + end) // 2
        start, end = (middle, end) if holds(middle) else (start, middle)
    return start


@recipe("dropout/survival-rate")
def survival_rate(case: Case, tape: Tape) -> Iterator[Script]:
    """Of many weights too many or too few were dropped."""
    for p in (case.dropout, RARE * case.dropout):
        for sample in range(2):
            d = samples.crowd(case, p, sample)
            hits, trials = (int((b & d.seen).sum()) for b in (d.bits, d.seen))
            low, high = interval(trials, p, 2)
            if not low <= hits <= high:
                script = drawn(d, case.seed + sample * SEEDS, 1)
                marked(script)
                counted(script, "lost", "seen", low, high)
                yield script


@recipe("dropout/independent-across-lanes-and-tiles")
def lanes_and_tiles(case: Case, tape: Tape) -> Iterator[Script]:
    """Of the pairs of weights so many keys or queries apart too many or too few agree."""
    for number in range(2):
        d = lanes.sample(case, number)
        for axis, period in product(lanes.AXES, lanes.PERIODS):
            hits, trials = lanes.pairs(*lanes.along(d, axis), period)
            low, high = interval(trials, d.dropout, len(lanes.AXES) * len(lanes.PERIODS))
            if low <= hits <= high:
                continue
            script = drawn(d, case.seed + number * SEEDS, 1)
            marked(script)
            turned = "" if axis == "keys" else ".mT"
            script.add(
                f"lost, seen = lost[0, 0, 0]{turned}, seen[0, 0, 0]{turned}",
                f"apart = {period}  # {axis}",
                "first = torch.arange(lost.shape[1] - apart)",
                "first = first[first % (2 * apart) < apart]  # no weight is in two pairs",
                "both = seen[:, first] & seen[:, first + apart]",
                "alike = (lost[:, first] == lost[:, first + apart]) & both",
                "count, among = int(alike.sum()), int(both.sum())",
                "# What is outside has a probability below 1 in a million.",
                f"assert {low} <= count <= {high}, (",
                f"    f'expected {low} to {high} of {{among}} pairs of weights {period} {axis} apart "
                "dropped or kept together, got {count}'",
                ")",
            )
            yield script


@recipe("dropout/unbiased")
def unbiased(case: Case, tape: Tape) -> Iterator[Script]:
    """The mean of drawn / undropped weights is not one."""
    for sample in range(2):
        d = samples.crowd(case, case.dropout, sample)
        kept, trials = 1.0 - d.dropout, int(d.seen.sum())
        low, high = interval(trials, kept, 1)
        whole = np.where(d.undropped > 0, d.undropped, 1.0)
        share = np.broadcast_to(d.scaled[1] / whole, d.drawn.shape)
        slack = float(kept * np.sum(share, where=d.seen[..., None, :]))
        script = drawn(d, case.seed + sample * SEEDS, 1)
        marked(script)
        script.add(
            "ratio = (drawn / still)[..., 0, :][seen].sum() / seen.sum()",
            "# What is outside has a probability below 1 in a million.",
            f"low, high = {(low - slack) / trials / kept}, {(high + slack) / trials / kept}",
            "assert low <= ratio <= high, f'expected a mean of drawn / undropped weights of 1 '"
            " f'(from {low:.4g} to {high:.4g}), got {ratio:.6g}'",
        )
        yield script


@recipe(*(f"dropout/independent-over-{axis}" for axis in ("batch", "heads", "rows", "columns")))
def independent(case: Case, tape: Tape) -> Iterator[Script]:
    """The patterns along an axis come together."""
    for sample in range(2):
        d = samples.draws(case, sample)
        for number, axis in enumerate(AXES[1:], start=1):
            bits, seen = (np.moveaxis(part, number, 0) for part in (d.bits, d.seen))
            try:
                chance.independent("", bits, seen)
            except Violation:
                script = drawn(d, case.seed + sample * SEEDS, len(d.outputs))
                marked(script)
                size = len(bits)
                limit = most_matches(size * (size - 1) // 2 + size)
                script.add(
                    f"axis = {number}  # {axis}, of {' '.join(AXES)}",
                    "found = matches(*(part.movedim(axis, 0).flatten(2) for part in (lost, seen)))",
                    f"assert found <= {limit}, (",
                    f"    f'expected what is dropped for one {axis} to say nothing about another; "
                    f"in {{found}} of {len(d.outputs)} calls it does, {limit} might be chance'",
                    ")",
                )
                yield script


def most_matches(comparisons: int) -> int:
    """How many matches chance explains."""
    number = 0
    while chance.share(chance.log_match_tail(number + 1) + math.log(2.0), comparisons) <= 1.0:
        number += 1
    return number


@recipe("dropout/independent-over-calls")
def over_calls(case: Case, tape: Tape) -> Iterator[Script]:
    """Patterns come again."""
    for sample in range(2):
        d = samples.draws(case, sample)
        different = len({(b & s).tobytes() for b, s in zip(d.bits, d.seen, strict=True)})
        if different == len(d.outputs):
            continue
        script = drawn(d, case.seed + sample * SEEDS, len(d.outputs))
        marked(script)
        script.add(
            "patterns = {tuple(call.flatten().tolist()) for call in lost}",
            f"assert len(patterns) > {different}, (",
            f"    f'expected other weights dropped in each of {len(d.outputs)} calls, '",
            "    f'got {len(patterns)} different patterns'",
            ")",
        )
        yield script


@recipe("dropout/reproducible-under-manual-seed")
def reproducible(case: Case, tape: Tape) -> Iterator[Script]:
    """One seed drops the same weights, another one others."""
    for sample in range(2):
        d, seed = samples.draws(case, sample), case.seed + sample * SEEDS
        script = Script(case.subject)
        build = built(d.probe, d.dropout)
        first, second = script.build(build), "module_2"
        x = given(script, d.probe)
        script.add(
            "def pattern(module, seed):",
            f'    """Which numbers of the outputs of {SEEDED} calls are zero, after a seed."""',
            "    torch.manual_seed(seed)",
            "    module.train()",
            "    with torch.no_grad():",
            f"        return torch.stack([module({x}) for _ in range({SEEDED})]) == 0",
            "",
            "",
        )
        script.modules[0] = second
        script.add(*construct(case.subject, build.config, second), *script.fill(build, second))
        script.add(
            f"one, new = pattern({first}, {seed}), pattern({second}, {seed})",
            f"again, other = pattern({first}, {seed}), pattern({second}, {seed + 1})",
            "assert torch.equal(one, new), 'expected the same weights dropped in a new instance'",
            "assert torch.equal(one, again), 'expected the same weights dropped by the same seed'",
            "assert not torch.equal(one, other), 'expected others dropped by another seed'",
        )
        yield script


@recipe("dropout/does-not-reseed-the-global-generator")
def no_reseeding(case: Case, tape: Tape) -> Iterator[Script]:
    """Different states of the generator lead to different states."""
    for training in (False, True):
        script = Script(case.subject)
        module = script.build(built(case, case.dropout))
        x = given(script, case)
        script.add(
            f"{module}.{'train' if training else 'eval'}()",
            "states = set()",
            f"for seed, numbers in (({case.seed}, 0), ({case.seed}, 1000), ({case.seed + 1}, 0)):",
            "    torch.manual_seed(seed)",
            "    torch.rand(numbers)",
            "    with torch.no_grad():",
            f"        {module}({x})",
            "    states.add(bytes(torch.get_rng_state().tolist()))",
            "assert len(states) == 3, (",
            "    f'expected three states of the generator to lead to three, got {len(states)}'",
            ")",
        )
        yield script


@recipe("dropout/gradient-follows-the-draw")
def gradient_follows(case: Case, tape: Tape) -> Iterator[Script]:
    """The gradient of a value is the weight that was drawn for it."""
    d = samples.draws(case)
    s, head = d.probe.sizes, case.seed % d.undropped.shape[1]
    start = head * s.head_dim
    batched = d.probe.subject.has("batched")
    script = Script(case.subject)
    module = script.build(built(d.probe, d.dropout))
    x = given(script, d.probe)
    script.add(
        f"x = {f'{x}[:1]' if batched else x}.requires_grad_()",
        f"{module}.train()",
        f"torch.manual_seed({case.seed})",
        f"output = {module}(x)",
        f"last = output{'[0]' if batched else ''}[-1, {start} : {start + s.tokens}]  # the weights drawn",
        "try:",
        "    last.sum().backward()",
        "except Exception as error:",
        "    raise AssertionError(f'expected a gradient, got {error!r}') from error",
        "gradient = torch.zeros_like(x) if x.grad is None else x.grad",
    )
    allowed = text.slack(2.0 * d.scaled[1][0, head, -1, 0])
    script.add(
        "# The tokens are one-hot and so are the values: each weight stands in all its columns.",
        f"shown = gradient.reshape({s.tokens}, -1)[:, : {s.tokens}]",
        "expected = last.detach().to(torch.float64)[:, None].expand(shown.shape)",
        f"allowed = torch.where(last == 0, 0.0, {allowed})[:, None]",
        "near(shown, expected, allowed)",
    )
    yield script


@recipe("dropout/p-one-gives-zeros")
def p_one(case: Case, tape: Tape) -> Iterator[Script]:
    """At p = 1 the output is the output bias or zero."""
    script = Script(case.subject)
    module = script.build(built(case, 1.0))
    x = given(script, case)
    bias = None if case.weights is None else case.weights.out_bias
    shape = (case.sizes.batch, case.sizes.tokens, case.sizes.width)
    expected = np.broadcast_to(0.0 if bias is None else bias, shape)
    allowed = np.where(np.isfinite(budgets.difference(case)), 0.0, np.inf)
    script.add(
        f"{module}.train()",
        "with torch.no_grad():",
        f"    output = {module}({x})",
        f"expected = {text.tensor(one_item(case, expected))}",
        f"near(output, expected, {text.tensor(one_item(case, allowed))})",
    )
    yield script
