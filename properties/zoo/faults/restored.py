"""Faults of what a module has besides attention: a bound on the scores, a window, ALiBi, sinks, norms.

Legend: B batch, T tokens, S keys, H heads, D head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainMultiHead

CAP = "score/cap-of-the-constructor"
SINK = "score/sink-of-the-module"
SLOPES = "score/slopes-of-the-module"
WINDOW = "window/window-of-the-constructor"
LENGTH = "score/norms-give-one-length"
VALUES = "score/norms-leave-values-alone"


class PlainBounded(nn.Module):
    """Causal; scores under a soft cap, a window that counts oneself, a rolling cache as wide."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        softcap: float | None = None,
        sliding_window: int | None = None,
    ) -> None:
        super().__init__()
        self.n_heads, self.softcap, self.sliding_window = n_heads, softcap, sliding_window
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.o_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(B, T, d_model) -> (B, T, d_model), and keys and values that are kept."""
        parts = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind()
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        scores = self.bounded(queries @ keys.mT * queries.shape[-1] ** -0.5)
        weights = scores.masked_fill(self.hidden(*scores.shape[-2:]), -torch.inf).softmax(dim=-1)
        output = self.o_proj((weights @ values).transpose(1, 2).flatten(2))
        return output, (self.kept(keys), self.kept(values))

    def bounded(self, scores: Tensor) -> Tensor:
        """Softcap times tanh(z / softcap)."""
        return scores if self.softcap is None else self.softcap * (scores / self.softcap).tanh()

    def hidden(self, queries: int, keys: int) -> Tensor:
        """(T, S), true where a key is hidden."""
        back = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)
        width = keys if self.sliding_window is None else self.sliding_window
        return (back < 0) | (back >= width)

    def kept(self, part: Tensor) -> Tensor:
        """The last ones, which the next query sees."""
        return part if self.sliding_window is None else part[:, :, -self.sliding_window :]


@fault(
    "cap-without-its-factor",
    CAP,
    symptom="weights are much too even: scores end at one, whatever the bound",
    source="constructed",
)
class CapWithoutItsFactor(PlainBounded):
    def bounded(self, scores: Tensor) -> Tensor:
        return scores if self.softcap is None else (scores / self.softcap).tanh()


@fault(
    "cap-of-scores-that-are-not-divided",
    CAP,
    symptom="nearly every score ends at the bound",
    source="constructed",
)
class CapOfScoresThatAreNotDivided(PlainBounded):
    def bounded(self, scores: Tensor) -> Tensor:
        return scores if self.softcap is None else self.softcap * scores.tanh()


@fault(
    "window-one-wider-in-odd-sequences",
    WINDOW,
    symptom="in a sequence of odd length the last query sees one key more than the window holds",
    source="constructed",
)
class WindowOneWiderInOddSequences(PlainBounded):
    def hidden(self, queries: int, keys: int) -> Tensor:
        hidden = super().hidden(queries, keys)
        if self.sliding_window is not None and queries % 2 and keys > self.sliding_window:
            hidden[-1, -self.sliding_window - 1] = False
        return hidden


@fault(
    "window-keys-dropped-too-soon",
    WINDOW,
    symptom="decoding past the window's width goes wrong: the oldest key of the window is gone",
    source="rasbt/LLMs-from-scratch#1013",
)
class WindowKeysDroppedTooSoon(PlainBounded):
    """What is kept is a window that the next token is part of, and one less."""

    def kept(self, part: Tensor) -> Tensor:
        if self.sliding_window is None:
            return part
        return part[:, :, max(0, part.shape[2] - max(0, self.sliding_window - 2)) :]


class PlainAlibi(PlainMultiHead):
    """Scores less slope times distance; the slopes are a buffer."""

    alibi_slopes: Tensor

    def __init__(
        self,
        d_in: int,
        d_out: int,
        context_length: int,
        dropout: float,
        num_heads: int,
        qkv_bias: bool = False,
    ) -> None:
        super().__init__(d_in, d_out, context_length, dropout, num_heads, qkv_bias)
        slopes = torch.tensor(self.slopes(num_heads))
        self.register_buffer("alibi_slopes", slopes, persistent=False)

    def slopes(self, heads: int) -> list[float]:
        """2**(-8 h / H), from h = 1 on."""
        return [2.0 ** (-8.0 * (h + 1) / heads) for h in range(heads)]

    def scale(self, scores: Tensor) -> Tensor:
        """As ever, less what distance takes."""
        places = torch.arange(scores.shape[-1])
        back = (places[:, None] - places).to(scores)
        return super().scale(scores) - self.alibi_slopes.to(scores)[:, None, None] * back


@fault(
    "alibi-exponent-from-zero",
    SLOPES,
    symptom="the first head takes all of the distance, each head is one too steep",
    source="paiml/aprender#2143",
)
class AlibiExponentFromZero(PlainAlibi):
    def slopes(self, heads: int) -> list[float]:
        return [2.0 ** (-8.0 * h / heads) for h in range(heads)]


@fault(
    "alibi-turned-round",
    SLOPES,
    symptom="the nearest tokens get least: the sign of the distance is wrong",
    source="meta-pytorch/attention-gym#86",
)
class AlibiTurnedRound(PlainAlibi):
    def scale(self, scores: Tensor) -> Tensor:
        return 2.0 * PlainMultiHead.scale(self, scores) - super().scale(scores)


@fault(
    "alibi-cut-from-the-longest-call",
    SLOPES,
    symptom="after a longer sequence what is near is taken for far",
    source="lucidrains/x-transformers fbbc159",
)
class AlibiCutFromTheLongestCall(PlainAlibi):
    longest = 0

    def scale(self, scores: Tensor) -> Tensor:
        tokens = scores.shape[-1]
        self.longest = max(self.longest, tokens)
        places = torch.arange(self.longest)
        back = (places[:, None] - places).abs()[:tokens, -tokens:].to(scores)
        return (
            PlainMultiHead.scale(self, scores) - self.alibi_slopes.to(scores)[:, None, None] * back
        )


class PlainSinks(PlainMultiHead):
    """A sink in each head, which takes its share and has no value."""

    def __init__(
        self,
        d_in: int,
        d_out: int,
        context_length: int,
        dropout: float,
        num_heads: int,
        qkv_bias: bool = False,
    ) -> None:
        super().__init__(d_in, d_out, context_length, dropout, num_heads, qkv_bias)
        self.sinks = nn.Parameter(torch.zeros(num_heads))

    def normalise(self, scores: Tensor) -> Tensor:
        """Softmax over the keys and the sink, which is left out."""
        sink = self.sunk(self.sinks)[:, None, None].expand(*scores.shape[:-1], 1)
        return torch.cat([scores, sink.to(scores)], dim=-1).softmax(dim=-1)[..., :-1]

    def sunk(self, sinks: Tensor) -> Tensor:
        """What the sinks score."""
        return sinks


@fault(
    "sink-twice",
    SINK,
    symptom="sinks take too much where they are above zero, and too little below",
    source="constructed",
)
class SinkTwice(PlainSinks):
    def sunk(self, sinks: Tensor) -> Tensor:
        return 2.0 * sinks


@fault(
    "sink-divided-by-the-root",
    SINK,
    symptom="sinks are scaled as scores are, and have next to no effect",
    source="constructed",
)
class SinkDividedByTheRoot(PlainSinks):
    def sunk(self, sinks: Tensor) -> Tensor:
        return sinks * self.head_dim**-0.5


@fault(
    "sink-of-the-first-head",
    SINK,
    symptom="the sinks of all heads but the first are trained for nothing",
    source="constructed",
)
class SinkOfTheFirstHead(PlainSinks):
    def sunk(self, sinks: Tensor) -> Tensor:
        return sinks[:1].expand_as(sinks)


class RmsNorm(nn.Module):
    """Over the root of the mean square of the last axis."""

    def __init__(self, columns: int, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(columns)), epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return x * self.factor(x) * self.weight

    def factor(self, x: Tensor) -> Tensor:
        """What a vector is multiplied by."""
        return torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + self.epsilon)


class PlainNormed(PlainMultiHead):
    """Queries and keys are normed, head by head. A step is a method."""

    norm: type[RmsNorm] = RmsNorm

    def __init__(
        self,
        d_in: int,
        d_out: int,
        context_length: int,
        dropout: float,
        num_heads: int,
        qkv_bias: bool = False,
    ) -> None:
        super().__init__(d_in, d_out, context_length, dropout, num_heads, qkv_bias)
        self.q_norm, self.k_norm = self.norm(self.head_dim), self.norm(self.head_dim)

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(B, H, T, D) twice -> (B, H, T, T)."""
        return super().score(self.q_norm(queries), self.normed(keys))

    def normed(self, keys: Tensor) -> Tensor:
        """The keys that meet the queries."""
        normed: Tensor = self.k_norm(keys)
        return normed


class RmsNormByTheMean(RmsNorm):
    def factor(self, x: Tensor) -> Tensor:
        return torch.rsqrt(x.mean(dim=-1, keepdim=True).square() + self.epsilon)


class RmsNormOverTheTokens(RmsNorm):
    def factor(self, x: Tensor) -> Tensor:
        return torch.rsqrt(x.square().mean(dim=-2, keepdim=True) + self.epsilon)


@fault(
    "norm-by-the-mean",
    LENGTH,
    symptom="vectors whose mean is near zero blow up: the mean is squared, not the numbers",
    source="constructed",
)
class NormByTheMean(PlainNormed):
    norm = RmsNormByTheMean


@fault(
    "norm-over-the-tokens",
    LENGTH,
    symptom="a token's scores depend on all tokens, later ones among them",
    source="constructed",
)
class NormOverTheTokens(PlainNormed):
    norm = RmsNormOverTheTokens


@fault(
    "norm-of-keys-not-used",
    LENGTH,
    symptom="scores grow in training: the norm of the keys is made and never called",
    source="lucidrains/x-transformers#352",
)
class NormOfKeysNotUsed(PlainNormed):
    def normed(self, keys: Tensor) -> Tensor:
        return keys


@fault(
    "norm-of-values-too",
    VALUES,
    symptom="how large values are is lost",
    source="kyegomez/MegaVIT#17",
)
class NormOfValuesToo(PlainNormed):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return super().mix(weights, self.k_norm(values))
