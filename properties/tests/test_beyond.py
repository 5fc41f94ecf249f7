"""What real attention has beyond the definition is put out of action, told, and all else is asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_needed import ODDS, Heads

COUNT = "shape/parameter-shapes-and-count"
LAWS = [COUNT, ODDS, "oracle/output-within-bound"]


def verdict(kind: type[nn.Module], only: list[str] = LAWS) -> list[str]:
    """The laws that do not hold."""
    report = run(find_one(kind), profile="quick", only=only)
    return [r.clause for r in report.results if r.status != "pass"]


class Sinks(Heads):
    """One more logit for each head, whose share of the weights is nobody's."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.sinks = nn.Parameter(torch.zeros(num_heads))

    def forward(self, x: Tensor) -> Tensor:
        def hide(scores: Tensor) -> Tensor:
            none = self.sinks.reshape(-1, 1, 1).expand(*scores.shape[:-1], 1)
            return scores - torch.cat([scores, none], dim=-1).logsumexp(-1, keepdim=True)

        return self.out_proj(self.weighed(x, lambda scores: hide(scores).exp()))

    def weighed(self, x: Tensor, weigh: Callable[[Tensor], Tensor]) -> Tensor:
        layers = (self.W_query, self.W_key, self.W_value)
        shape = (-1, (self.num_heads, self.head_dim))
        query, key, value = (layer(x).unflatten(*shape).transpose(1, 2) for layer in layers)
        weights = weigh(self.scores(query, key))
        return (weights @ value).transpose(1, 2).flatten(2)


class UnscaledSinks(Sinks):
    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT


class RelativePositions(Heads):
    """A learned number for each distance, added to the scores."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.rel_pos_bias = nn.Parameter(torch.randn(4096))

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1])
        distance = (places[:, None] - places).abs()
        return self.attend([x, x, x], lambda scores: scores + self.rel_pos_bias[distance])


class IdleGate(Heads):
    """A parameter that takes no part."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.gate = nn.Parameter(torch.zeros(d_model))

    def forward(self, x: Tensor) -> Tensor:
        return self.attend([x, x, x], lambda scores: scores)


class Capped(Heads):
    """Scores are bound by 50, unless it is None."""

    def __init__(self, d_model: int, num_heads: int, logit_softcap: float | None = 50.0) -> None:
        super().__init__(d_model, num_heads)
        self.logit_softcap = logit_softcap

    def forward(self, x: Tensor) -> Tensor:
        cap = self.logit_softcap
        return self.attend([x, x, x], lambda z: z if cap is None else cap * (z / cap).tanh())


class CappedByANumber(Capped):
    """The same, and None is refused."""

    def __init__(self, d_model: int, num_heads: int, logit_softcap: float = 50.0) -> None:
        super().__init__(d_model, num_heads, float(logit_softcap))


class UnscaledCapped(CappedByANumber):
    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT


class CappedLow(CappedByANumber):
    """A bound above 100 is refused."""

    def __init__(self, d_model: int, num_heads: int, logit_softcap: float = 50.0) -> None:
        if logit_softcap > 100.0:
            raise ValueError(f"logit_softcap {logit_softcap} is above 100")
        super().__init__(d_model, num_heads, logit_softcap)


class Windowed(Heads):
    """A query sees itself and some keys before it; None is refused."""

    def __init__(self, d_model: int, num_heads: int, sliding_window: int = 2) -> None:
        super().__init__(d_model, num_heads)
        self.sliding_window = int(sliding_window)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1])
        back = places[:, None] - places
        hidden = (back < 0) | (back >= self.sliding_window)
        return self.attend([x, x, x], lambda scores: scores.masked_fill(hidden, -torch.inf))


class WindowRequired(Windowed):
    def __init__(self, d_model: int, num_heads: int, window_size: int) -> None:
        super().__init__(d_model, num_heads, window_size)


class WindowOrNone(Windowed):
    """None is a window as well: of all keys."""

    def __init__(self, d_model: int, num_heads: int, window: int | None = 3) -> None:
        super().__init__(d_model, num_heads, 10**6 if window is None else window)


class UnscaledWindowed(Windowed):
    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT


class WindowOfATable(Windowed):
    """The pairs of places of a window have a table, which would be large for a wide one."""

    def __init__(self, d_model: int, num_heads: int, window_size: int = 7) -> None:
        super().__init__(d_model, num_heads, window_size)
        self.register_buffer("table", torch.zeros(window_size**2))


class SwitchedScale(Heads):
    """Scores are scaled if the constructor is told so."""

    def __init__(self, nx: int, n_head: int, scale: bool = False) -> None:
        super().__init__(nx, n_head)
        self.scaled = scale

    def forward(self, x: Tensor) -> Tensor:
        factor = 1.0 if self.scaled else self.head_dim**0.5
        return self.attend([x, x, x], lambda scores: scores * factor)


def test_sinks_are_set_to_minus_infinity() -> None:
    assert verdict(Sinks) == []
    assert find_one(Sinks).extras == {"sinks": float("-inf")}
    apart = "sinks is asked about by itself; elsewhere it is minus infinity"
    assert apart in find_one(Sinks).notes


class UninitialisedSinks(Sinks):
    """Made by torch.empty, so that anything may be in them, as in gpt-oss before a checkpoint."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        with torch.no_grad():
            self.sinks.fill_(1e30)


def test_sinks_that_are_not_initialised_are_filled_whatever_is_in_them() -> None:
    assert verdict(UninitialisedSinks) == []


def test_a_lost_scale_beside_sinks_is_told() -> None:
    assert verdict(UnscaledSinks, [ODDS]) == [ODDS]


def test_relative_positions_are_set_to_zero() -> None:
    assert verdict(RelativePositions) == []
    assert find_one(RelativePositions).extras == {"rel_pos_bias": 0.0}


def test_a_gate_that_takes_no_part_is_a_parameter_too_many() -> None:
    assert verdict(IdleGate, [COUNT]) == [COUNT]


class ValueResidual(nn.Module):
    """The values of the first layer are mixed in, by a number that is learned: `mix` says how."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.lamb = nn.Parameter(torch.tensor(0.5))
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x: Tensor, v1: Tensor | None = None) -> Tensor:
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)) for f in (self.q, self.k, self.v))
        v = self.mix(v, v if v1 is None else v1.view_as(v))
        heads = (part.transpose(1, 2) for part in (q, k, v))
        out = nn.functional.scaled_dot_product_attention(*heads)
        return self.o(out.transpose(1, 2).flatten(2))

    def mix(self, v: Tensor, first: Tensor) -> Tensor:
        return (1 - self.lamb) * v + self.lamb * first


class ValuesAdded(ValueResidual):
    """Those of the first layer are added, so that without them there is half as much again."""

    def mix(self, v: Tensor, first: Tensor) -> Tensor:
        return v + self.lamb * first


class ValuesHalved(ValueResidual):
    """The parameter takes no part, whatever forward is given."""

    def mix(self, v: Tensor, first: Tensor) -> Tensor:
        return (v + first) / 2


def test_a_parameter_that_matters_beside_another_input_is_right_in_part() -> None:
    assert verdict(ValueResidual) == []
    assert "where forward is given v1" in find_one(ValueResidual).unasked["lamb"]


@pytest.mark.parametrize("kind", [ValuesAdded, ValuesHalved])
def test_a_parameter_that_matters_alone_or_never_is_one_too_many(kind: type[nn.Module]) -> None:
    assert verdict(kind, [COUNT]) == [COUNT]


def test_a_bound_on_the_scores_is_none_where_it_may_be() -> None:
    assert verdict(Capped) == []
    assert "logit_softcap is asked about by itself; elsewhere it is None" in find_one(Capped).notes


def test_a_bound_that_has_to_be_a_number_is_beyond_all_scores() -> None:
    """In the formats that have such a number."""
    subject = find_one(CappedByANumber)
    report = run(subject, profile="quick", only=[ODDS])
    assert {r.status for r in report.results} == {"pass"}
    assert "logit_softcap is asked about by itself; elsewhere it is 2**80" in subject.notes
    assert subject.dtypes == ("float64", "float32", "bfloat16")


class MemoryAttention(nn.Module):
    """Learned keys and values that every query sees come before those of x. A step is a method."""

    def __init__(self, dim: int, heads: int, num_mem_kv: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv, self.to_out = (nn.Linear(dim, n * dim, bias=False) for n in (3, 1))
        self.mem = nn.Parameter(torch.randn(2, heads, num_mem_kv, dim // heads))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        parts = self.to_qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, *others = parts.unbind()
        added = self.mem.expand(len(x), -1, -1, -1, -1).unbind(1)
        key, value = (torch.cat(pair, dim=2) for pair in zip(added, others, strict=True))
        seen = None if mask is None else self.widened(mask, added[0].shape[2])[:, None, None]
        output = nn.functional.scaled_dot_product_attention(query, key, value, seen)
        return self.to_out(output.transpose(1, 2).flatten(2))

    def widened(self, mask: Tensor, count: int) -> Tensor:
        """(B, S) -> (B, count + S), true where a key is seen."""
        return nn.functional.pad(mask, (count, 0), value=True)


class MaskOfTheMemoryAlone(MemoryAttention):
    def widened(self, mask: Tensor, count: int) -> Tensor:
        return super().widened(torch.ones_like(mask), count)


MEMORY_LAWS = [*LAWS, "gradient/every-parameter-receives-gradient"]


def test_learned_keys_and_values_are_none() -> None:
    """A parameter that holds no numbers then is no part that has to take part."""
    assert verdict(MemoryAttention, MEMORY_LAWS) == []
    assert "it is 0" in find_one(MemoryAttention).unasked["num_mem_kv"]


def test_without_them_a_mask_is_asked_as_ever() -> None:
    assert find_one(MemoryAttention).takes["padding"] == "mask"
    assert find_one(MemoryAttention).conventions.padding == "attend"
    assert find_one(MaskOfTheMemoryAlone).conventions.padding == ""


def test_a_bound_that_may_be_neither_keeps_its_default() -> None:
    """It is no reason to refuse the class."""
    assert "keeps its default" in find_one(CappedLow).unasked["logit_softcap"]


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (Windowed, "sliding_window", "16384"),
        (WindowRequired, "window_size", "16384"),
        (WindowOrNone, "window", "None"),
    ],
)
def test_a_window_of_the_constructor_is_wider_than_the_examples(
    kind: type[nn.Module], name: str, value: str
) -> None:
    """What hides keys by design is not accused of it, and that it is asked by itself is told."""
    subject = find_one(kind)
    report = run(subject, profile="quick", only=[ODDS])
    assert [r.clause for r in report.results if r.status == "fail"] == []
    assert f"{name} is asked about by itself; elsewhere it is {value}" in subject.notes


class WindowOfOthers(Windowed):
    """The token itself is not counted."""

    def __init__(self, d_model: int, num_heads: int, sliding_window: int = 2) -> None:
        super().__init__(d_model, num_heads, sliding_window + 1)


class WindowOfTwoMore(Windowed):
    """No convention: neither by counting oneself nor by counting others."""

    def __init__(self, d_model: int, num_heads: int, sliding_window: int = 2) -> None:
        super().__init__(d_model, num_heads, sliding_window + 2)


@pytest.mark.parametrize(("kind", "before"), [(Windowed, 2), (WindowOfOthers, 3)])
def test_whether_a_window_counts_oneself_is_told(kind: type[nn.Module], before: int) -> None:
    told = f"sliding_window of 3 shows a token itself and the {before} before it"
    assert told in find_one(kind).notes


def test_of_a_window_by_no_convention_it_is_not_told() -> None:
    assert not any("shows a token itself" in note for note in find_one(WindowOfTwoMore).notes)


class WindowOfPairs(WindowOfATable):
    """A window has two sides; the table is for all pairs in it."""

    def __init__(self, d_model: int, num_heads: int, window_size: tuple[int, int] = (3, 4)) -> None:
        super().__init__(d_model, num_heads, window_size[0] * window_size[1])


def test_a_window_of_two_sides_keeps_its_default() -> None:
    assert "keeps its default" in find_one(WindowOfPairs).unasked["window_size"]


def test_a_table_for_the_pairs_of_a_window_is_not_made_large() -> None:
    """As many tokens as the window has are asked about, and no more."""
    asked = find_one(WindowOfATable)
    assert "window_size is of blocks" in asked.lacking["context-length"]
    assert verdict(WindowOfATable, [ODDS]) == []


@pytest.mark.parametrize("kind", [UnscaledCapped, UnscaledWindowed])
def test_a_lost_scale_beside_a_bound_or_a_window_is_told(kind: type[nn.Module]) -> None:
    assert verdict(kind, [ODDS]) == [ODDS]


def test_a_switch_for_the_scale_is_on() -> None:
    assert verdict(SwitchedScale) == []


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs of neighbours (.., T, R) turned by angles that are given for each number."""
    return x * cos + torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2) * sin


class TurnedNeighbours(Heads):
    """Rotary positions of neighbours, as wide as a head."""

    share = 1.0

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        layers = (self.W_query, self.W_key, self.W_value)
        shape = (-1, (self.num_heads, self.head_dim))
        query, key, value = (layer(x).unflatten(*shape).transpose(1, 2) for layer in layers)
        width = int(self.share * self.head_dim)
        query, key = (
            torch.cat([turned(part[..., :width], cos, sin), part[..., width:]], dim=-1)
            for part in (query, key)
        )
        context = self.scores(query, key).softmax(-1) @ value
        return self.out_proj(context.transpose(1, 2).flatten(2))


class TurnedHalfOfAHead(TurnedNeighbours):
    share = 0.5


def test_angles_are_handed_over_as_the_pairs_want_them() -> None:
    """Those for halves run as well, and follow no convention."""
    positions = find_one(TurnedNeighbours).positions
    assert positions is not None
    assert (positions.pairing, positions.portion, positions.known) == ("neighbours", 1.0, True)


def test_angles_are_handed_over_for_a_part_of_each_head() -> None:
    positions = find_one(TurnedHalfOfAHead).positions
    assert positions is not None
    assert (positions.pairing, positions.portion, positions.known) == ("neighbours", 0.5, True)
