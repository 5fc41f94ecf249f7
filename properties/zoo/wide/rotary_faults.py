"""Causal modules with wrong rotary positions."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from properties.zoo.wide import held
from properties.zoo.wide.rotary import PlainRotary, RotaryWithGivenAngles

wrong = partial(held, kind="rotary", area="position", how="plain", pairs="halves")


@wrong(
    "rotary-by-head",
    named="positions along the heads",
    symptom="the index of a head is taken for its position: order within a sequence is lost",
)
class RotaryByHead(PlainRotary):
    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        return super().rotate(heads, self.angles[: self.n_heads, None])


@wrong(
    "rotary-by-item",
    named="positions along the batch",
    symptom="the index of an item is taken for its position",
)
class RotaryByItem(PlainRotary):
    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        return super().rotate(heads, self.angles[: len(heads), None, None])


@wrong(
    "rotary-of-the-first-item",
    named="first item alone rotated",
    symptom="right for a batch of one",
    source="ml-explore/mlx#3498",
)
class RotaryOfTheFirstItem(PlainRotary):
    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        return torch.cat([super().rotate(heads[:1], angles), heads[1:]])


@wrong(
    "rotary-of-values",
    named="values rotated",
    symptom="what is read depends on where it stood",
)
class RotaryOfValues(PlainRotary):
    def values(self, values: Tensor, angles: Tensor) -> Tensor:
        return self.rotate(values, angles)


@wrong(
    "rotary-queries-from-one",
    named="positions of queries from one",
    symptom="every distance is one too far",
)
class QueriesFromOne(PlainRotary):
    def queries(self, queries: Tensor, angles: Tensor) -> Tensor:
        return self.rotate(queries, self.angles[1 : 1 + len(angles)])


@wrong(
    "rotary-keys-unrotated",
    named="keys not rotated",
    symptom="scores depend on where a query stands, and not on the distance",
)
class KeysUnrotated(PlainRotary):
    def keys(self, keys: Tensor, angles: Tensor) -> Tensor:
        return keys


@wrong(
    "rotary-discarded",
    named="positions ignored",
    symptom="the rotated part is computed and thrown away",
    source="EleutherAI/gpt-neox e7c1b46",
    fits="no positions",
)
class RotaryDiscarded(PlainRotary):
    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        super().rotate(heads, angles)
        return heads


@wrong(
    "rotary-pairs-mixed",
    named="pairs of queries and keys differ",
    symptom="queries turn by halves and keys by neighbours",
)
class PairsMixed(PlainRotary):
    def keys(self, keys: Tensor, angles: Tensor) -> Tensor:
        apart = torch.cat([keys[..., 0::2], keys[..., 1::2]], dim=-1)
        return torch.stack(self.rotate(apart, angles).chunk(2, dim=-1), dim=-1).flatten(-2)


@wrong(
    "rotary-angles-of-neighbours",
    named="angles of neighbours on halves",
    symptom="the components of a pair turn by two angles: lengths are not kept",
    source="raiyanyahya/how-to-train-your-gpt#6",
)
class AnglesOfNeighbours(PlainRotary):
    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        doubled = angles.repeat_interleave(2, dim=-1).to(heads)
        first, second = heads.chunk(2, dim=-1)
        return heads * doubled.cos() + torch.cat([-second, first], dim=-1) * doubled.sin()


@wrong(
    "rotary-keys-with-another-base",
    named="base of keys differs",
    symptom="slow pairs of queries and keys drift apart",
)
class KeysWithAnotherBase(PlainRotary):
    def keys(self, keys: Tensor, angles: Tensor) -> Tensor:
        return self.rotate(keys, self.table(len(angles), 10 * self.base).to(angles))


@wrong(
    "rotary-queries-backwards",
    named="queries rotated the other way",
    symptom="scores depend on the sum of two positions",
)
class QueriesBackwards(PlainRotary):
    def queries(self, queries: Tensor, angles: Tensor) -> Tensor:
        return self.rotate(queries, -angles)


@wrong(
    "rotary-sign-lost",
    named="a reflection for a rotation",
    symptom="both products are subtracted: lengths are not kept",
)
class SignLost(PlainRotary):
    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        cos, sin = angles.cos().to(heads), angles.sin().to(heads)
        first, second = heads.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos - first * sin], dim=-1)


@wrong(
    "rotary-cosine-and-sine-exchanged-in-queries",
    named="cosine and sine exchanged in queries",
    symptom="exchanged in both, all would turn backwards; in one, near is far",
    source="rasbt/LLMs-from-scratch#381",
)
class ExchangedInQueries(PlainRotary):
    def queries(self, queries: Tensor, angles: Tensor) -> Tensor:
        return self.rotate(queries, torch.pi / 2 - angles)


@wrong(
    "rotary-positions-start-again",
    named="positions start again",
    how="long",
    symptom="a table for half the context is read modulo its length",
)
class PositionsStartAgain(PlainRotary):
    def attend(self, x: Tensor, angles: Tensor) -> Tensor:
        half = len(self.angles) // 2
        return super().attend(x, angles[torch.arange(len(angles)) % half])


@wrong(
    "rotary-start-of-queries-alone",
    named="start of queries alone",
    how="start",
    symptom="right from position 0; with an offset the keys stay where they were",
)
class StartOfQueriesAlone(PlainRotary):
    def forward(self, x: Tensor, start_pos: int = 0) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        self.start = start_pos
        return super().forward(x)

    def queries(self, queries: Tensor, angles: Tensor) -> Tensor:
        return self.rotate(queries, self.angles[self.start : self.start + len(angles)])


@wrong(
    "rotary-given-angles-of-the-first-token",
    named="angles of the first token for all",
    symptom="of the given cosines and sines one row is read: positions have no effect",
)
class GivenAnglesOfTheFirstToken(RotaryWithGivenAngles):
    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(B, T, d_model), (T, D) twice -> (B, T, d_model)."""
        return super().forward(x, cos[:1], sin[:1])
