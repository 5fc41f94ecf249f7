"""Faults of rotary positions: causal modules whose queries and keys are turned otherwise.

Some are those of `zoo/wide`. Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor

from properties.zoo.faults import fault
from properties.zoo.wide import rotary_faults as wide
from properties.zoo.wide.rotary import PlainRotary, RotaryOfAPart

KNOWN = "position/rotary-is-a-known-one"
OWN = "position/own-key-as-if-nothing-were-turned"
LENGTHS = "position/lengths-are-kept"
DIFFERENCES = "position/depends-on-differences-alone"
VALUES = "position/values-are-not-turned"
REST = "position/the-rest-is-left"
HEADS = "position/heads-are-turned-alike"
ITEMS = "position/items-are-turned-alike"
FAR = "position/far-positions"
START = "position/start-changes-nothing"


fault(
    "rotary-positions-thrown-away",
    KNOWN,
    symptom="the rotated part is computed and not used: order within a sequence is lost",
    source="EleutherAI/gpt-neox e7c1b46",
)(wide.RotaryDiscarded)
fault(
    "rotary-angles-by-head",
    KNOWN,
    symptom="angles are laid along the heads, which cancels out: order is lost",
    apart="as many angles as heads are read: where the context is shorter, the call raises",
)(wide.RotaryByHead)
fault(
    "rotary-of-queries-counts-from-one",
    KNOWN,
    OWN,
    symptom="every distance is one too far",
    apart="an angle past the last one is read: a context of one token gives no rows",
)(wide.QueriesFromOne)
fault(
    "rotary-of-queries-alone",
    OWN,
    DIFFERENCES,
    symptom="scores depend on where a query stands, and not on the distance",
)(wide.KeysUnrotated)
fault(
    "rotary-sines-added-twice",
    LENGTHS,
    symptom="a reflection takes the place of the rotation: lengths are not kept",
)(wide.SignLost)
fault(
    "rotary-angles-repeated-in-turn",
    LENGTHS,
    symptom="halves are turned by the angles of neighbours: lengths are not kept",
    source="raiyanyahya/how-to-train-your-gpt#6",
)(wide.AnglesOfNeighbours)
fault(
    "rotary-queries-the-other-way",
    DIFFERENCES,
    symptom="scores depend on the sum of two positions",
)(wide.QueriesBackwards)
fault(
    "rotary-turns-values",
    VALUES,
    symptom="what is read depends on where it stood",
)(wide.RotaryOfValues)
fault(
    "rotary-of-the-first-item-alone",
    ITEMS,
    symptom="right for a batch of one",
    source="ml-explore/mlx#3498",
)(wide.RotaryOfTheFirstItem)
fault(
    "rotary-table-read-again",
    FAR,
    symptom="a table for half the context is read modulo its length",
)(wide.PositionsStartAgain)
fault(
    "rotary-starts-with-the-queries-alone",
    START,
    symptom="right from position 0; with an offset the keys stay where they were",
)(wide.StartOfQueriesAlone)


@fault(
    "rotary-starts-with-the-keys-alone",
    START,
    symptom="right from position 0; with an offset the queries stay where they were",
)
class StartOfKeysAlone(wide.StartOfQueriesAlone):
    def queries(self, queries: Tensor, angles: Tensor) -> Tensor:
        return self.rotate(queries, angles)

    def keys(self, keys: Tensor, angles: Tensor) -> Tensor:
        return self.rotate(keys, self.angles[self.start : self.start + len(angles)])


@fault(
    "rotary-turns-the-context",
    VALUES,
    symptom="the output of a head is turned by the position of its query",
)
class ContextTurned(PlainRotary):
    def values(self, values: Tensor, angles: Tensor) -> Tensor:
        return self.rotate(values, -angles)


@fault(
    "rotary-turns-the-rest-too",
    REST,
    symptom="the columns that should be left are turned by the same angles",
)
class RestTurnedToo(RotaryOfAPart):
    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        parts = heads.chunk(2, dim=-1)
        return torch.cat([PlainRotary.rotate(self, part, angles) for part in parts], dim=-1)


@fault(
    "rotary-turns-the-rest-back",
    REST,
    symptom="the columns that should be left are turned the other way",
)
class RestTurnedBack(RotaryOfAPart):
    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        part, rest = heads.chunk(2, dim=-1)
        turn = PlainRotary.rotate
        return torch.cat([turn(self, part, angles), turn(self, rest, -angles)], dim=-1)


@fault(
    "rotary-of-the-first-head-alone",
    HEADS,
    symptom="right with one head: the others know no positions",
)
class FirstHeadAlone(PlainRotary):
    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        return torch.cat([super().rotate(heads[:, :1], angles), heads[:, 1:]], dim=1)


@fault(
    "rotary-faster-from-head-to-head",
    HEADS,
    symptom="each head multiplies positions by its number",
)
class FasterFromHeadToHead(PlainRotary):
    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        faster = torch.arange(1, heads.shape[1] + 1).to(angles)
        return super().rotate(heads, faster[:, None, None] * angles)


@fault(
    "rotary-of-the-last-item-forgotten",
    ITEMS,
    symptom="the last item of a batch is left as it is",
)
class LastItemForgotten(PlainRotary):
    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        return torch.cat([super().rotate(heads[:-1], angles), heads[-1:]])


@fault(
    "rotary-angles-of-half-precision",
    FAR,
    symptom="near tokens are told apart, far ones are not: angles keep eleven bits",
)
class HalfPrecisionAngles(PlainRotary):
    def table(self, positions: int, base: float) -> Tensor:
        """(positions, D / 2)."""
        return super().table(positions, base).half()
