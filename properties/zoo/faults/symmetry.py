"""Faults of symmetry: positions and coordinates that should not matter and do."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainMultiHead, PlainSelf, PlainSimplified, rotated

ROTATED = "symmetry/rotating-q-and-k-together"
RECIPROCAL = "symmetry/reciprocal-scaling-of-q-and-k"
TOKENS = "symmetry/token-permutation"
ODDS = "weights/log-odds-are-scaled-score-differences"
VALUE = "oracle/output-within-bound"


@fault(
    "rotary-positions-left-on",
    ROTATED,
    "weights/equal-scores-give-equal-weights",
    ODDS,
    symptom="a model without positions has some",
)
class PositionsLeftOn(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return super().score(rotated(queries), rotated(keys))


@fault(
    "positions-added-to-keys",
    TOKENS,
    VALUE,
    symptom="the same tokens in another order mean something else",
    family="self",
)
class PositionsAddedToKeys(PlainSelf):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return super().score(
            queries, keys + torch.arange(keys.shape[-2], dtype=keys.dtype)[:, None]
        )


@fault(
    "first-token-counts-twice",
    TOKENS,
    "weights/equal-scores-give-equal-weights",
    VALUE,
    symptom="a special token was expected at the front",
    family="plain",
)
class FirstTokenCountsTwice(PlainSimplified):
    def normalise(self, scores: Tensor) -> Tensor:
        first = torch.zeros_like(scores)
        first[..., 0] = 0.6931
        return super().normalise(scores + first)


@fault(
    "last-coordinate-ignored",
    ROTATED,
    VALUE,
    symptom="a slice of queries and keys ends one too early",
)
class LastCoordinateIgnored(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        end = max(1, self.head_dim - 1)
        return super().score(queries[..., :end], keys[..., :end])


@fault(
    "odd-coordinate-ignored",
    ROTATED,
    VALUE,
    symptom="right for an even head_dim: a kernel takes two coordinates at a time",
)
class OddCoordinateIgnored(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        end = max(1, self.head_dim // 2 * 2)
        return super().score(queries[..., :end], keys[..., :end])


@fault(
    "first-coordinate-counts-twice",
    ROTATED,
    ODDS,
    symptom="blocks of coordinates overlap by one",
    family="self",
)
class FirstCoordinateCountsTwice(PlainSelf):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        twice = super().score(queries[..., :1], keys[..., :1])
        return super().score(queries, keys) + twice


@fault(
    "coordinates-weighted-in-simplified-attention",
    ROTATED,
    VALUE,
    symptom="a diagonal was slipped between the tokens",
    family="plain",
)
class CoordinatesWeighted(PlainSimplified):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        diagonal = 1.0 / torch.arange(1, keys.shape[-1] + 1, dtype=keys.dtype)
        return super().score(queries, keys * diagonal)


@fault(
    "queries-and-keys-clipped",
    RECIPROCAL,
    VALUE,
    symptom="clip_qkv of another model's configuration was left on",
)
class QueriesAndKeysClipped(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return super().score(queries.clamp(-4, 4), keys.clamp(-4, 4))


@fault(
    "queries-normalised",
    RECIPROCAL,
    ODDS,
    symptom="a norm of queries that the formula has not",
)
class QueriesNormalised(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return super().score(functional.rms_norm(queries, (self.head_dim,)), keys)


@fault(
    "keys-through-tanh",
    RECIPROCAL,
    ODDS,
    symptom="keys saturate",
    family="self",
)
class KeysThroughTanh(PlainSelf):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return super().score(queries, keys.tanh())


@fault(
    "epsilon-added-to-keys",
    RECIPROCAL,
    VALUE,
    symptom="1e-3 is added where nothing is divided",
)
class EpsilonAddedToKeys(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return super().score(queries, keys + 1e-3 * keys.square())
