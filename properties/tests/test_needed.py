"""What a forward needs besides x is made for it where that can be: masks, a context, the order of three."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from properties.cases.strategies import pinned_cases
from properties.findings.scripts import script
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.runs.tally import judge
from properties.spec.clause import clauses

ODDS = "weights/log-odds-are-scaled-score-differences"
LAWS = [ODDS, "heads/split-equals-per-head-matmul", "oracle/output-within-bound"]


class Heads(nn.Module):
    """Four projections of one width, and the split into heads."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"d_model {d_model} is not divisible by num_heads {num_heads}")
        self.num_heads, self.head_dim = num_heads, d_model // num_heads
        self.W_query, self.W_key, self.W_value, self.out_proj = (
            nn.Linear(d_model, d_model) for _ in range(4)
        )

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT / math.sqrt(self.head_dim)

    def attend(self, parts: list[Tensor], hide: Callable[[Tensor], Tensor]) -> Tensor:
        """queries, keys, values (B, T, d_model) -> (B, T, d_model); hide: what becomes of the scores."""
        layers = (self.W_query, self.W_key, self.W_value)
        query, key, value = (
            layer(part).unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for layer, part in zip(layers, parts, strict=True)
        )
        context = hide(self.scores(query, key)).softmax(-1) @ value
        return self.out_proj(context.transpose(1, 2).flatten(2))


class MaskThatMayBeNone(Heads):
    def forward(self, values: Tensor, keys: Tensor, query: Tensor, mask: Tensor) -> Tensor:
        def hide(scores: Tensor) -> Tensor:
            return scores if mask is None else scores.masked_fill(mask == 0, -1e20)

        return self.attend([query, keys, values], hide)


class MaskThatAttends(Heads):
    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return self.attend([q, k, v], lambda scores: scores.masked_fill(mask == 0, -1e9))


class MaskThatHides(Heads):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.attend([x, x, x], lambda scores: scores.masked_fill(mask, -torch.inf))


class PaddingInNumbers(Heads):
    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        least = torch.finfo(hidden_states.dtype).min
        hidden = (1.0 - attention_mask[:, None, None, :].to(hidden_states.dtype)) * least
        return self.attend([hidden_states] * 3, lambda scores: scores + hidden)


class MaskAddedAsALargeNumber(Heads):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.attend([x, x, x], lambda scores: scores + mask * -10000.0)


class MaskTakenFromOne(Heads):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.attend([x, x, x], lambda scores: scores + (1.0 - mask) * -10000.0)


class MaskedByLengths(Heads):
    """What comes after the end of an item is hidden; the future is not, whatever the name says."""

    def forward(self, x: Tensor, valid_lens: Tensor) -> Tensor:
        hidden = torch.arange(x.shape[1]) >= valid_lens[:, None, None, None]
        return self.attend([x, x, x], lambda scores: scores.masked_fill(hidden, -torch.inf))


class LengthsThatMayBeNone(Heads):
    """As Dive into Deep Learning has it, with layers that learn their widths from a first call."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.W_query, self.W_key, self.W_value, self.out_proj = (
            nn.LazyLinear(d_model) for _ in range(4)
        )

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, valid_lens: Tensor | None
    ) -> Tensor:
        def hide(scores: Tensor) -> Tensor:
            if valid_lens is None:
                return scores
            hidden = torch.arange(keys.shape[1]) >= valid_lens[:, None, None, None]
            return scores.masked_fill(hidden, -torch.inf)

        return self.attend([queries, keys, values], hide)


class ContextByDefaultNone(Heads):
    def forward(self, hidden_states: Tensor, encoder_hidden_states: Any = None) -> Tensor:
        context = encoder_hidden_states.clone()
        return self.attend([hidden_states, context, context], lambda scores: scores)


class Block(Heads):
    """With what stands around attention in a layer of an encoder."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.norm = nn.LayerNorm(d_model)


class BlockWithNormLast(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.attend([x, x, x], lambda scores: scores))


class BlockWithNormFirst(Block):
    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return x + self.attend([y, y, y], lambda scores: scores)


class AttentionBlockAroundTorchs(nn.Module):
    """Queries, keys and values are handed to a layer by name."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(d_model, num_heads, batch_first=True)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor | None = None) -> Tensor:
        assert x is not None
        y = self.norm(x)
        return x + self.attn(query=y, key=y, value=y, need_weights=False)[0]


class NormedHeads(Heads):
    """Norms of queries and keys, and a residual that nothing speaks of."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.q_norm, self.k_norm = (nn.LayerNorm(self.head_dim) for _ in range(2))

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return super().scores(self.q_norm(query), self.k_norm(key))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attend([x, x, x], lambda scores: scores)


class Unscaled:
    """The fault beside each of these."""

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT


RIGHT = [
    MaskThatMayBeNone,
    MaskThatAttends,
    MaskThatHides,
    PaddingInNumbers,
    MaskAddedAsALargeNumber,
    MaskTakenFromOne,
    MaskedByLengths,
    LengthsThatMayBeNone,
    ContextByDefaultNone,
    BlockWithNormLast,
    BlockWithNormFirst,
]
WRONG = [type(f"{kind.__name__}Unscaled", (Unscaled, kind), {}) for kind in RIGHT]
globals().update({kind.__name__: kind for kind in WRONG})  # so that scripts find them


@pytest.mark.parametrize("kind", [MaskedByLengths, LengthsThatMayBeNone])
def test_lengths_that_are_required_are_asked_about(kind: type[Heads]) -> None:
    """What is made for them where nothing is asked hides nothing, or is None."""
    asked = find_one(kind)
    assert asked.takes["padding"] == "valid_lens"
    assert asked.conventions.padding == "counts"
    assert asked.unasked == {}


@pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)
def test_what_is_needed_is_made_and_the_laws_hold(kind: type[Heads]) -> None:
    report = run(find_one(kind), profile="quick", only=LAWS)
    assert [(r.clause, r.status) for r in report.results if r.status != "pass"] == []


@pytest.mark.parametrize("kind", WRONG, ids=lambda kind: kind.__name__)
def test_a_scale_that_is_lost_is_told_all_the_same(kind: type[Heads]) -> None:
    report = run(find_one(kind), profile="quick", only=[ODDS])
    assert report.failed == [ODDS]


@pytest.mark.parametrize(
    "kind",
    [MaskThatHides, MaskThatMayBeNone, MaskedByLengths, BlockWithNormLast],
    ids=lambda kind: kind.__name__,
)
def test_a_script_makes_what_is_needed_itself(kind: type[Heads]) -> None:
    """The same text fails on the fault and passes on what is right."""
    wrong = WRONG[RIGHT.index(kind)]
    law = clauses()[ODDS]
    case = next(c for c in pinned_cases(find_one(wrong)) if judge(law, c).status == "fail")
    found = script(law, case)
    assert found is not None
    with redirect_stdout(StringIO()):
        with pytest.raises(AssertionError):
            found.run(wrong)
        found.run(kind)


def test_a_mask_that_is_asked_for_is_asked_about() -> None:
    """In the form that forward takes, with what True means."""
    told = find_one(MaskThatAttends)
    assert (told.takes["mask"], told.conventions.mask) == ("mask", "attend")
    assert find_one(MaskThatHides).conventions.mask == "hide"
    assert find_one(PaddingInNumbers).conventions.padding == "attend"


def test_a_residual_without_a_norm_is_not_taken_out() -> None:
    """Then nothing says that it is meant; nor does a norm of queries and keys."""

    class Added(Heads):
        def forward(self, x: Tensor) -> Tensor:
            return x + self.attend([x, x, x], lambda scores: scores)

    for kind in (Added, NormedHeads):
        report = run(find_one(kind), profile="quick", only=["weights/rows-sum-to-one"])
        assert not report.right


def test_a_residual_is_taken_out_around_a_layer_that_is_told_by_name() -> None:
    report = run(
        find_one(AttentionBlockAroundTorchs), profile="quick", only=["weights/rows-sum-to-one"]
    )
    assert report.right


def without_dropout(query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0) -> Tensor:
    """Says that it takes none."""
    if dropout_p:
        raise NotImplementedError("no dropout here")
    return nn.functional.scaled_dot_product_attention(query, key, value)


def broken_dropout(query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0) -> Tensor:
    """Fails by accident where there is some."""
    limit: Any = None if dropout_p else 0.0
    assert dropout_p <= limit
    return nn.functional.scaled_dot_product_attention(query, key, value)


def test_a_function_that_takes_no_dropout_is_asked_without_and_one_that_fails_is_told() -> None:
    only = ["shape/output-shape", "dropout/keeps-the-shape"]
    found = find_one(without_dropout)
    assert "NotImplementedError" in found.lacking["dropout"]
    assert run(found, profile="quick", only=only).right
    assert not run(find_one(broken_dropout), profile="quick", only=only).right


def test_a_module_with_a_norm_is_looked_at_as_it_is_built() -> None:
    """What is tried for a residual leaves no trace: that this one hides the future is seen."""

    class Ahead(Block):
        def forward(self, x: Tensor) -> Tensor:
            y, place = self.norm(x), torch.arange(x.shape[1])
            ahead = place > place[:, None]
            return self.attend([y, y, y], lambda scores: scores.masked_fill(ahead, -torch.inf))

    assert find_one(Ahead).family == "multihead"


def test_a_flag_that_is_off_says_that_nothing_is_hidden() -> None:
    """Though the code hands it over by a name that speaks of hiding."""

    class Open(Heads):
        def __init__(self, d_model: int, num_heads: int) -> None:
            super().__init__(d_model, num_heads)
            self.is_causal = False

        def forward(self, x: Tensor) -> Tensor:
            shape = (-1, (self.num_heads, self.head_dim))
            layers = (self.W_query, self.W_key, self.W_value)
            parts = [layer(x).unflatten(*shape).transpose(1, 2) for layer in layers]
            context = nn.functional.scaled_dot_product_attention(*parts, is_causal=self.is_causal)
            return self.out_proj(context.transpose(1, 2).flatten(2))

    assert find_one(Open).family == "encoder"


def test_an_image_is_no_sequence_of_tokens() -> None:
    """What wants four axes is not accused of giving nothing for three: it gets an image of one column."""

    class Image(Heads):
        def forward(self, x: Tensor) -> Tensor:
            items, height, width, _ = x.shape
            flat = x.reshape(items, height * width, -1)
            return self.attend([flat] * 3, lambda scores: scores).reshape(x.shape)

    assert "one pixel wide, (B T 1 C)" in find_one(Image).unasked["image"]


def test_what_is_made_is_part_of_the_blueprint() -> None:
    """So that every module of a subject is called alike."""
    found = find_one(MaskThatHides)
    assert isinstance(found, ModuleSubject)
    assert found.blueprint.masks is not None
    assert (found.blueprint.masks.shape, found.blueprint.masks.fill) == ("T S", False)
