"""Calls of attention of every kind that the definition allows, drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from properties.basics.dtypes import FORMATS, Array
from properties.truth import visibility
from properties.truth.request import EMPTY, Request


@dataclass(frozen=True, eq=False)
class Call:
    """Queries (B, H, T, D), keys (B, G, S, D), values (B, G, S, Dv), what is asked, an upstream."""

    queries: Array
    keys: Array
    values: Array
    request: Request
    upstream: Array  # (B, H, T, Dv)

    @property
    def arrays(self) -> tuple[Array, Array, Array]:
        """Queries, keys and values."""
        return self.queries, self.keys, self.values


@st.composite
def calls(draw: st.DrawFn, dtype: str = "float64", empty: tuple[str, ...] = EMPTY) -> Call:
    """Sizes, groups, masks of each rank, windows, cap, bias, sink, scale; numbers exact in dtype."""
    size = st.integers(1, 4)
    batch, groups, share = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    t, s, d, dv = draw(size), draw(size), draw(size), draw(size)
    heads = groups * share
    g = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def normal(*shape: int, by: float = 1.0) -> Array:
        return FORMATS[dtype].round(g.normal(size=shape) * by)

    spread = draw(st.sampled_from([0.1, 1.0, 4.0]))
    rank = draw(st.sampled_from([(t, s), (1, s), (batch, 1, 1, s), (batch, heads, t, s)]))
    bias = draw(st.sampled_from([None, (t, s), (heads, t, s), (batch, heads, t, s)]))
    return Call(
        normal(batch, heads, t, d, by=spread),
        normal(batch, groups, s, d, by=spread),
        normal(batch, groups, s, dv),
        Request(
            visible=draw(seen(t, s)) & (g.random(rank) < draw(st.sampled_from([0.4, 1.0]))),
            scale=draw(st.sampled_from([None, 1.0, 0.125, 1.5])),
            cap=draw(st.sampled_from([None, 0.5, 2.0, 30.0])),
            bias=None if bias is None else hidden_here_and_there(normal(*bias), g, draw),
            sink=normal(heads, by=2.0) if draw(st.booleans()) else None,
            empty=draw(st.sampled_from(empty)),
        ),
        normal(batch, heads, t, dv),
    )


@st.composite
def seen(draw: st.DrawFn, t: int, s: int) -> visibility.Seen:
    """Everything, the past, a window or documents, (T, S)."""
    align = draw(st.sampled_from(["top left", "bottom right"]))
    limit = st.integers(-1, 3)
    kinds = [
        visibility.everything(t, s),
        visibility.causal(t, s, align),
        visibility.window(t, s, draw(limit), draw(limit), align),
        visibility.documents(np.arange(t) // 2, np.arange(s) // 2),
    ]
    return kinds[draw(st.integers(0, 3))]


def hidden_here_and_there(bias: Array, g: np.random.Generator, draw: st.DrawFn) -> Array:
    """Some biases are minus infinity."""
    return np.where(g.random(bias.shape) < draw(st.sampled_from([0.0, 0.3])), -np.inf, bias)


def used(truth: Array, found: Array, allowed: Array) -> float:
    """The largest share of what is allowed that a difference uses; the same NaN and infinity use none."""
    same = (truth == found) | (np.isnan(truth) & np.isnan(found))
    with np.errstate(invalid="ignore", divide="ignore"):  # of what is the same, or has no room
        share = np.where(same, 0.0, abs(truth - found) / allowed)
    return float(np.where(np.isnan(share), np.inf, share).max(initial=0.0))
