"""Modules of other libraries are asked with the suite's weights in the library's own parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from properties.cases.strategies import make_case, pinned_sizes
from properties.recognition.foreign import numpy_arrays
from properties.recognition.foreign.modules import ForeignSubject, Made, Place
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.subjects.subject import Config

SHOWN, SPLIT = "mask/shows-what-it-shows", "heads/split-equals-per-head-matmul"
ODDS = "weights/log-odds-are-scaled-score-differences"


class MultiHead(ForeignSubject):
    """Right: kernels (d_in, H, D) of queries, keys and values, and one (W, W) that is kept turned round."""

    name = "multi-head attention of NumPy"
    arrays = numpy_arrays.ARRAYS
    capabilities = frozenset({"projections", "out-projection", "rectangular", "batched"})
    places: Mapping[str, Place] = {
        **{role: Place(f"{role}.kernel") for role in ("query", "key", "value")},
        "out": Place("out", turned=True),
    }
    told = ("mask", "context")

    def make(self, config: Config) -> Made:
        """Zeros, which the suite's weights replace."""
        s = config.sizes
        kernel = np.zeros((s.d_in, s.heads, s.head_dim))
        named = {f"{role}.kernel": kernel for role in ("query", "key", "value")}
        return Made(self.call, {**named, "out": np.zeros((s.width, s.width))})

    def call(
        self, x: Any, q: Any, k: Any, v: Any, out: Any, mask: Any = None, context: Any = None
    ) -> Any:
        """The formula."""
        other = x if context is None else context
        parts = x, other, other
        queries, keys, values = (
            np.einsum("btd,dhe->bhte", part, kernel)
            for part, kernel in zip(parts, (q, k, v), strict=True)
        )
        scores = self.scores(queries, keys)
        if mask is not None:
            scores = np.where(self.seen(mask), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights = weights / weights.sum(-1, keepdims=True)
        heads = self.merged(np.einsum("bhts,bhse->bthe", weights, values))
        return heads.reshape(*x.shape[:2], -1) @ out.T

    def scores(self, queries: Any, keys: Any) -> Any:
        return queries @ keys.swapaxes(-1, -2) * queries.dtype.type(queries.shape[-1] ** -0.5)

    def seen(self, mask: Any) -> Any:
        return mask

    def merged(self, heads: Any) -> Any:
        return heads


class Unscaled(MultiHead):
    def scores(self, queries: Any, keys: Any) -> Any:
        return queries @ keys.swapaxes(-1, -2)


class NextKey(MultiHead):
    """A mask that is off by one."""

    def seen(self, mask: Any) -> Any:
        return np.roll(mask, 1, axis=-1)


class Swapped(MultiHead):
    """Heads in another order."""

    def merged(self, heads: Any) -> Any:
        return heads[:, :, ::-1]


def test_a_right_module_of_another_library_is_right() -> None:
    """Whatever shapes its parameters have; a mask and a context are asked of it by their names."""
    found = find_one(MultiHead)
    assert (found.takes["mask"], found.takes["context"]) == ("mask", "context")
    assert "context_padding" not in found.takes
    report = run(found, profile="quick", only=["oracle", "weights", "mask", "cross", "projection"])
    assert report.failed == []
    assert report.right


@pytest.mark.parametrize(("wrong", "law"), [(Unscaled, ODDS), (NextKey, SHOWN), (Swapped, SPLIT)])
def test_a_wrong_module_of_another_library_is_told(wrong: type[ForeignSubject], law: str) -> None:
    """By its scale, by its mask, by the order of its heads."""
    assert law in run(find_one(wrong), profile="quick", only=[law]).failed


def test_parameters_come_back_as_they_were_put_in() -> None:
    """In our layout."""
    subject = find_one(MultiHead)
    assert isinstance(subject, ForeignSubject)
    case = make_case(subject, pinned_sizes(subject)[0], "float64", "ordinary", False, 0.0, 1, 0)
    assert case.weights is not None
    config = Config(case.sizes)
    parameters = subject.build(config, case.weights).named_parameters()
    found = subject.collect({n: part.detach().numpy() for n, part in parameters}, config)
    for role in ("query", "key", "value", "out"):
        assert np.array_equal(getattr(found, role), getattr(case.weights, role))
