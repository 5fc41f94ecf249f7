"""Each check of a clause is needed: what only that one can see is told, and what is right by it passes.

Most clauses ask several things. A wrong implementation of `zoo/faults` is often told by all of them; each
of those here is told by one alone. Beside them are right ones of which only that check could say otherwise.

Legend: B batch, T tokens or queries, S keys, H heads, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import scaled_dot_product_attention

from properties.basics.assertions import Violation
from properties.cases.strategies import make_case
from properties.recognition.targets import find
from properties.runs.result import Result
from properties.spec.clause import clauses
from properties.spec.clauses import dropout_chance, dropout_draws
from properties.spec.clauses.error import right as at_least_right
from properties.spec.clauses.state import reset
from properties.spec.clauses.symmetry import reciprocal_scaling_of_queries_and_keys
from properties.spec.profiles import PROFILES
from properties.tests.data import low_rank, put_back
from properties.tests.test_margins import UNITS, VISIBLE
from properties.tests.test_margins_of_calls import jittery
from properties.tests.test_rights import Untold
from properties.truth import chance
from properties.truth.parameters import Sizes
from properties.zoo.faults import faults
from properties.zoo.faults.call_gradients import instead
from properties.zoo.faults.paths import attention
from properties.zoo.faults.plain import PlainMultiHead
from properties.zoo.faults.restored import PlainNormed, RmsNorm
from properties.zoo.rights import rights
from properties.zoo.wide import sound_ones
from properties.zoo.wide.cached_layers import CachedInADictOfLayers
from properties.zoo.wide.cached_masked import CachedUnderAMask
from properties.zoo.wide.cross import CrossWithTwoMasks
from properties.zoo.wide.cross_causal import FlagBesideAMask
from properties.zoo.wide.encoder import PlainEncoder
from properties.zoo.wide.encoder_flags import PlainFlag
from properties.zoo.wide.multihead import PlainMultihead
from properties.zoo.wide.rotary import PlainRotary, RotaryOfAPart

Target = Callable[..., Any]
FEW = replace(PROFILES["quick"], drawn=8, reduction=0)


@dataclass(frozen=True)
class Seen:
    """What one check of a clause alone sees: the clause, the target and its family, and the words in which
    it is told; or, where `passes`, would see if it were wrong.
    """

    clause: str
    target: Target
    family: str | None = None
    words: str = ""
    passes: bool = False


SEEN: list[Seen] = []
"""Wrong implementations."""


def seen(clause: str, words: str = "", family: str | None = None) -> Callable[[Target], Target]:
    """Register the decorated function or class."""

    def register(target: Target) -> Target:
        SEEN.append(Seen(clause, target, family, words))
        return target

    return register


def asked(one: Seen) -> Result:
    """What its clause says, whatever the others would."""
    subject = find(one.target, one.family)[0]
    (result,) = Untold(subject, [replace(clauses()[one.clause], after=())], FEW, 0).report().results
    return result


def as_it_should_be(one: Seen) -> bool:
    """Whether the clause says what it should, in these words."""
    result = asked(one)
    expected = "pass" if one.passes else "fail"
    return result.status == expected and one.words in (result.message or "")


# ---------------------------------------------------------------------- what a call is told


@seen("mask/every-shape-that-is-taken")
def two_axes_are_of_keys_where_items_are_as_many(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """A mask (T, S) is taken for one of (B, S) as soon as it fits."""
    if attn_mask is not None and attn_mask.ndim == 2 and len(attn_mask) == len(query):
        attn_mask = attn_mask[:, None, None]
    return attention(query, key, value, attn_mask)


@seen("mask/empty-row-is-answered-as-ever", "zeros, NaN or the mean of all values")
def an_empty_row_sees_the_first_key(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """So that no row is NaN."""
    if attn_mask is not None:
        empty = ~attn_mask.any(dim=-1, keepdim=True)
        attn_mask = attn_mask | (empty & (torch.arange(key.shape[-2]) == 0))
    return attention(query, key, value, attn_mask)


@seen("groups/equal-heads-are-one")
def one_group_is_summed_over_the_root_of_all_heads(
    query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool = False
) -> Tensor:
    """A branch for one head of keys and values, in which the heads lie side by side."""
    if key.shape[1] == 1 < query.shape[1]:
        query = query / query.shape[1] ** 0.5
    return scaled_dot_product_attention(query, key, value, enable_gqa=enable_gqa)


@seen("window/no-gradient-outside-the-window")
def the_backward_pass_knows_the_past_alone(
    query: Tensor, key: Tensor, value: Tensor, window_size: tuple[int, int] = (-1, -1)
) -> Tensor:
    """The right side of its window is zero."""
    ahead = torch.arange(key.shape[-2]) - torch.arange(query.shape[-2])[:, None]

    def within(left: int, right: int) -> Tensor:
        return ((ahead >= -left) | (left < 0)) & ((ahead <= right) | (right < 0))

    left, right = window_size
    forward, backward = within(left, right), within(left, min(right, 0))
    return instead(*(attention(query, key, value, one) for one in (forward, backward)))


# ---------------------------------------------------------------------- what a module is told


@seen("memory/arguments-are-not-written-to", "context_mask", "encoder")
class InvertsTheMaskOfItsContext(CrossWithTwoMasks):
    """In place, and that of x not."""

    def weigh(self, scores: Tensor) -> Tensor:
        weights = super().weigh(scores)
        if self.seen is not None and self.seen.shape[-1] != scores.shape[-2]:
            self.seen.logical_not_()
        return weights


@seen("mask/gradient-of-a-module-follows-its-masks", "padding", "encoder")
class PaddingIsTrained(PlainMultihead):
    """The backward pass is not told of it."""

    unpadded: Tensor | None = None

    def mask(
        self, scores: Tensor, padding: Tensor | None, mask: Tensor | None, need_weights: bool
    ) -> Tensor:
        without = super().mask(scores, None, mask, need_weights)
        self.unpadded = None if padding is None else without
        return super().mask(scores, padding, mask, need_weights)

    def normalise(self, scores: Tensor) -> Tensor:
        weights, unpadded = super().normalise(scores), self.unpadded
        return weights if unpadded is None else instead(weights, super().normalise(unpadded))


@seen("result/averaged-weights-are-their-mean", "", "encoder")
class AveragedBeforeTheMask(PlainMultihead):
    """Weights of each head are right."""

    def shown(self, weights: Tensor, scores: Tensor, average: bool) -> Tensor:
        return scores.softmax(dim=-1).mean(dim=1) if average else weights


@seen("paths/modes-of-a-module", "in eval", "encoder")
class MaskIsLostWithEvenHeads(PlainMultihead):
    """The path that is fast in eval takes even numbers of heads alone, and no mask of keys."""

    def pad(self, scores: Tensor, padding: Tensor) -> Tensor:
        fast = not self.training and self.num_heads % 2 == 0
        return scores if fast else super().pad(scores, padding)


# ---------------------------------------------------------------------- positions, norms, windows


@seen("position/own-key-as-if-nothing-were-turned")
class KeysOfTheFirstHead(PlainRotary):
    """Taken for those of all heads."""

    def keys(self, keys: Tensor, angles: Tensor) -> Tensor:
        return super().keys(keys[:, :1], angles).expand_as(keys)


@seen("position/far-positions")
class AnglesOfSingleModulesInHalf(PlainRotary):
    """As under autocast, which leaves double precision alone."""

    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        return super().rotate(heads, angles.half() if heads.dtype == torch.float32 else angles)


@seen("position/heads-are-turned-alike", "an output (")
class HeadsLeftApart(PlainRotary):
    """(B, T, H, D) of four tokens, where it should be (B, T, H * D)."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y.unflatten(-1, (self.n_heads, self.head_dim)) if x.shape[1] == 4 else y


def off(y: Tensor) -> Tensor:
    """By more than rounding, and by less than a thousand times as much."""
    return y * (1.0 + UNITS * torch.finfo(y.dtype).eps)


@seen("window/window-of-the-constructor", "tokens")
class OffWithACache(put_back.Rolling):
    """The path for decoding is slightly off."""

    def forward(self, x: Tensor, use_cache: bool = False) -> Tensor:
        y = super().forward(x, use_cache)
        return off(y) if use_cache else y


class NormInAShorterFormat(RmsNorm):
    """As a kernel that keeps the factor in bfloat16."""

    def factor(self, x: Tensor) -> Tensor:
        return super().factor(x).bfloat16().to(x)


@seen("score/norms-give-one-length")
class NormedInAShorterFormat(PlainNormed):
    """Its lengths differ in the third digit."""

    norm = NormInAShorterFormat


# ---------------------------------------------------------------------- gradients


@seen("cross/causal-diagonal-is-kept", "", "encoder")
class FlagIsLostBesideAMask(FlagBesideAMask):
    """Which alone is handed on."""

    def weigh(self, scores: Tensor) -> Tensor:
        self.hides = self.hides and self.real is None
        return super().weigh(scores)


@seen("memory/earlier-call-is-forgotten", "", "encoder")
class TriangleOfTheFirstLength(PlainFlag):
    """Tokens beyond it see everything."""

    kept: Tensor | None = None

    def past(self, scores: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = super().past(scores)
        past, known = torch.ones_like(scores, dtype=torch.bool), min(len(scores), len(self.kept))
        past[:known, :known] = self.kept[:known, :known]
        return past


@seen("numerics/float64-weights-are-no-float32", "scale that was rounded", "multihead")
class RootOfFloat32(PlainMultiHead):
    """A tensor made once, of torch's usual format."""

    def scale(self, scores: Tensor) -> Tensor:
        root = torch.sqrt(torch.tensor(float(self.head_dim), dtype=torch.float32))
        return scores / float(root)


class Linear(Function):
    """x @ w.mT, with a backward pass by hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        """The product."""
        ctx.save_for_backward(x, w)
        return x @ w.mT

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> tuple[Tensor, Tensor]:
        """Right once; the gradient of the weights takes the input for a constant."""
        x, w = ctx.saved_tensors
        return upstream[0] @ w, (upstream[0].mT @ x.detach()).sum(dim=0)


@seen("gradient/second-derivative")
class WeightsGradientIsCutOff(PlainMultiHead):
    """What two derivatives by x alone do not show."""

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, _ = super().project(x)
        values: Tensor = Linear.apply(x, self.W_value.weight)  # type: ignore[no-untyped-call]
        bias = self.W_value.bias
        return queries, keys, values if bias is None else values + bias


# ---------------------------------------------------------------------- faults, and their words

SEEN += [
    Seen(clause, faults()[name].module, faults()[name].family, words)
    for name, clause, words in (
        ("error-without-numbers", "error/messages-name-the-numbers", "names 1 or 7"),
        ("mask-is-a-parameter", "shape/parameter-shapes-and-count", "(query (7, 12), key (7, 12)"),
    )
]

# ---------------------------------------------------------------------- what is right


class WithoutTheBiasOfKeys(PlainMultiHead):
    """It has one and leaves it out: no weight depends on it."""

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, _, values = super().project(x)
        return queries, x @ self.W_key.weight.mT, values


class NoBiasOfKeys(PlainEncoder):
    """Queries and values always have one, as in Whisper."""

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__(d_model, n_heads, dropout)
        self.k_proj = nn.Linear(d_model, d_model, bias=False)


class TurnedInFloat32(PlainRotary):
    """As Llama's are: beyond its range a score is infinite, and minus infinity is added to it."""

    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        return super().rotate(heads.float(), angles).to(heads)

    def hide(self, scores: Tensor) -> Tensor:
        return scores + torch.full_like(scores, -torch.inf).triu(diagonal=1)


class OneMaskForAllItems(CachedUnderAMask):
    """(T, S)."""

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores.masked_fill(~mask.expand(scores.shape[-2:]), -torch.inf)


class LayersUnderAMask(CachedInADictOfLayers):
    """Nothing but the mask, (B, 1, T, S) and added, hides the future."""

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, kv_cache: dict | None = None
    ) -> Tensor:
        """(B, T, d_model) -> the same."""
        queries, keys, values = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        if kv_cache is not None:
            past = kv_cache.get(self.layer_idx, (keys[:, :, :0], values[:, :, :0]))
            keys, values = (
                torch.cat(pair, dim=2) for pair in zip(past, (keys, values), strict=True)
            )
            self.keep(kv_cache, (keys, values))
        context = scaled_dot_product_attention(queries, keys, values, attn_mask)
        output: Tensor = self.o_proj(context.transpose(1, 2).flatten(2))
        return output


class QueriesOfAPartTurnedBack(RotaryOfAPart):
    """Wrong, and not in the part that is left."""

    def queries(self, queries: Tensor, angles: Tensor) -> Tensor:
        return self.rotate(queries, -angles)


def right(clause: str, target: Target, family: str | None = None) -> Seen:
    """A right one."""
    return Seen(clause, target, family, passes=True)


RIGHT = [
    right("gradient/every-parameter-receives-gradient", WithoutTheBiasOfKeys, "multihead"),
    right("position/the-rest-is-left", QueriesOfAPartTurnedBack),
    right("gradient/every-parameter-receives-gradient", low_rank.DoraAttention),
    right("gradient/every-parameter-receives-gradient", low_rank.BottleneckAttention),
    right("causality/future-at-the-end-of-the-range-stays-out", TurnedInFloat32),
    right("cache/mask-of-pairs-goes-on", OneMaskForAllItems),
    right("cache/layers-keep-their-own", LayersUnderAMask),
    right("shape/parameter-shapes-and-count", NoBiasOfKeys),
    *(
        right(id, rights()[name].target)
        for id, name in (
            ("argument/qkv-bias-has-effect", "dropout-shared-by-declaration"),
            ("dropout/independent-over-rows", "dropout-shared-by-declaration"),
            ("transform/export-equals-eager", "cross-in-one-matrix-for-keys-and-values"),
            ("window/wide-is-none", "window-that-counts-oneself-from-the-top-left"),
            ("state/survives-deferred-construction", "mask-made-again-by-reset-parameters"),
            ("error/indivisible-heads-lose-nothing", "matrices-that-nobody-recognises"),
        )
    ),
]
"""With the clause that one of its checks would make accuse them."""


@pytest.mark.parametrize("one", SEEN, ids=lambda one: one.target.__name__)
def test_what_one_check_alone_sees_is_told(one: Seen) -> None:
    """In the words of that check."""
    assert as_it_should_be(one), asked(one).message


@pytest.mark.parametrize("one", RIGHT, ids=lambda one: one.clause)
def test_what_is_right_by_one_check_alone_passes(one: Seen) -> None:
    """And some of its examples count."""
    assert as_it_should_be(one), asked(one).message


# ---------------------------------------------------------------------- by hand


def test_one_group_of_keys_loses_no_example_of_what_is_seen() -> None:
    """Several heads of keys that differ would be an input that it does not take."""
    one, several = (
        asked(Seen("causality/every-past-token-is-seen", sound_ones()[name].target))
        for name in ("grouped-in-one-group", "grouped-by-the-kernel")
    )
    assert one.counted == several.counted


def test_a_mean_in_a_row_that_sees_nothing_is_asked_to_rounding() -> None:
    """No more and no less, where that is the convention."""
    right = jittery(sound_ones()["sdpa-with-the-least-number"].target)
    result = asked(Seen("mask/empty-row-is-answered-as-ever", right))
    assert result.status == "pass"
    assert VISIBLE < result.margin <= 1.0


class SmallNumberAdded(PlainMultiHead):
    """To the queries: next to nothing, and not in proportion."""

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return super().score(queries + 4.0 * torch.finfo(queries.dtype).eps, keys)


def scaled(target: Target, dtype: str) -> float:
    """The share of its budget that the law about queries and keys of other lengths sees used."""
    subject = find(target)[0]
    sizes = Sizes(2, 4, 8, 2, 4, 4)
    drawn = (make_case(subject, sizes, dtype, "ordinary", False, 0.0, 2, seed) for seed in range(4))
    return max(map(reciprocal_scaling_of_queries_and_keys, drawn))


def test_what_is_exact_is_asked_exactly() -> None:
    """Queries times two and keys over two give the same scores, and what is added to some is told."""
    assert scaled(PlainMultiHead, "float64") == 0.0
    with pytest.raises(Violation, match="exactly"):
        scaled(SmallNumberAdded, "float64")


def test_where_turned_parts_lose_digits_these_are_allowed_and_no_more() -> None:
    """In float16."""
    assert VISIBLE < scaled(jittery(PlainRotary), "float16") <= 1.0


def test_memory_that_was_just_taken_is_zero_before_a_module_starts_anew() -> None:
    """So that what nothing fills is the same in every run."""
    module = PlainMultiHead(4, 4, 3, 0.0, 2)
    module.mask.fill_(True)
    reset(module)
    assert not module.mask.any()
    assert module.W_query.weight.any()  # by its layer's reset_parameters


def test_a_number_where_none_is_right_is_told() -> None:
    """NaN is expected there."""
    expected = np.full((1, 1, 2), np.nan)
    assert at_least_right("more tokens", expected, expected, expected) == 0.0
    with pytest.raises(Violation, match=r"more tokens right; got 3 at batch 0, token 0, column 1"):
        at_least_right("more tokens", np.array([[[np.nan, 3.0]]]), expected, expected)


@pytest.mark.parametrize(
    "target", [PlainMultiHead, rights()["dropout-shared-by-declaration"].target]
)
def test_what_shares_its_draws_counts_once_and_a_crowd_has_enough_of_its_own(
    target: Target,
) -> None:
    """Items and heads by declaration; else each of them."""
    subject = find(target)[0]
    case = make_case(subject, Sizes(2, 4, 3, 2, 2, 4), "float64", "ordinary", True, 0.5, 1, seed=0)
    apart = (1, 1) if subject.dropout_shared else (2, 2)
    assert dropout_draws.draws(case).bits.shape[1:3] == apart
    assert np.count_nonzero(dropout_draws.crowd(case, 0.5).seen) >= chance.DRAWS


@pytest.mark.parametrize(
    ("axis", "items", "tokens", "shows"),
    [("batch", 8, 1, False), ("batch", 2, 8, True), ("query", 1, 8, True), ("key", 1, 8, True)],
)
def test_sharing_shows_where_each_has_draws_enough(
    axis: str, items: int, tokens: int, shows: bool
) -> None:
    """One weight of many items is too few; what two of eight tokens have together is enough."""
    subject, sizes = find(PlainMultiHead)[0], Sizes(items, tokens, 3, 1, 2, tokens)
    case = make_case(subject, sizes, "float64", "ordinary", True, 0.5, 0, seed=0)
    assert dropout_chance.sharing_shows(axis).holds(case) == shows
