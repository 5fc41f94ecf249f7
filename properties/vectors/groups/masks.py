"""What is hidden: masks, biases, padding, the causal flag, windows, and rows that see nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from properties.truth.request import Seen
from properties.vectors.exact import Exact, drawn, seen
from properties.vectors.groups import group, vector
from properties.vectors.vector import Vector

SLOPES = Exact(np.array([1, 16]), 0.125)


def shown(number: int, shape: tuple[int, ...], hidden: int = 3) -> Seen:
    """A mask in which every row sees a key: its first where there would be none."""
    mask = seen(f"{number}/mask", shape, hidden)
    mask[..., 0] |= ~mask.any(axis=-1)
    return mask


@group("masks", "Masks (true: the key is seen), biases (added after scale and cap) and padding.")
def masks() -> Iterator[Vector]:
    """Every shape of a mask, and what else is told beside one."""
    yield vector(301, "a mask of pairs, items and heads", T=2, mask=shown(301, (2, 2, 2, 5)))
    yield vector(302, "a mask of items", T=2, mask=shown(302, (2, 1, 2, 5)))
    yield vector(303, "a mask of pairs", T=3, S=3, E=3, mask=shown(303, (1, 1, 3, 3)))
    first = shown(304, (2, 1, 2, 5))
    first[0] = True
    yield vector(304, "a mask of items, of which the first is whole", T=2, mask=first)
    yield vector(305, "padding", T=2, padding=padding(5, 3, 4))
    yield vector(
        306,
        "padding, as many queries as keys and items",
        B=3,
        T=3,
        S=3,
        E=3,
        padding=padding(3, 2, 1, 3),
    )
    yield vector(307, "padding on the left", T=2, padding=padding(5, 3, 2)[:, ::-1])
    yield vector(
        308, "padding and a mask", T=2, padding=padding(5, 4, 3), mask=shown(308, (1, 1, 2, 5), 2)
    )
    yield vector(309, "a bias", T=2, bias=drawn("309/bias", (2, 2, 2, 5), 8, 0.5))
    yield vector(310, "a bias of items", T=2, bias=drawn("310/bias", (2, 1, 2, 5), 8, 0.5))
    fine = drawn("311/bias", (1, 2, 2, 5), 2000, 2.0**-9)
    yield vector(311, "a bias that eight bits do not hold", B=1, T=2, bias=fine)
    bias = drawn("312/bias", (1, 2, 2, 5), 8, 0.5)
    hidden = ~shown(312, (1, 2, 2, 5), 2)
    bias = Exact(np.where(hidden, 0, bias.integers), bias.times, hidden)
    yield vector(312, "a bias with minus infinities", B=1, T=2, bias=bias)
    yield vector(
        313, "a bias beside a scale", T=2, scale=0.25, bias=drawn("313/bias", (1, 2, 2, 5), 8, 1.0)
    )
    yield vector(314, "a cap and a mask", T=2, cap=1.5, mask=shown(314, (1, 1, 2, 5)))
    yield vector(
        315, "a cap and a bias", T=2, cap=1.5, bias=drawn("315/bias", (1, 1, 2, 5), 8, 0.5)
    )


def padding(keys: int, *lengths: int) -> Seen:
    """(B, S): so many real keys of each item, the first ones."""
    real: Seen = np.arange(keys) < np.array(lengths)[:, None]
    return real


@group("causal", "The causal flag, windows and slopes where there are as many queries as keys.")
def causal() -> Iterator[Vector]:
    """Alone, and beside each other."""
    yield vector(341, "causal", S=3, E=3, causal=True)
    yield vector(342, "causal and a mask", S=3, E=3, causal=True, mask=below())
    yield vector(
        343,
        "causal and a bias",
        S=3,
        E=3,
        causal=True,
        bias=drawn("343/bias", (1, 2, 3, 3), 8, 0.5),
    )
    yield vector(
        344, "causal and padding on the right", T=3, S=3, E=3, causal=True, padding=padding(3, 2, 3)
    )
    yield vector(345, "causal and a cap", S=3, E=3, causal=True, cap=1.5)
    yield vector(346, "a window of one key before and two after", B=1, T=5, window=(1, 2))
    yield vector(347, "a window of the past", B=1, T=5, window=(2, 0))
    yield vector(348, "a window of oneself alone", B=1, T=3, S=3, E=3, window=(0, 0))
    yield vector(349, "a window without a limit before", B=1, T=5, window=(-1, 1))
    yield vector(350, "a window and causal", B=1, T=5, window=(1, 2), causal=True)
    yield vector(
        351, "a window, causal and a mask", B=1, T=5, window=(2, 1), causal=True, mask=diagonal(5)
    )
    yield vector(352, "slopes", B=1, T=5, slopes=SLOPES, D=2, loud=0.0625)
    yield vector(
        353,
        "slopes and causal, scale and cap",
        B=1,
        T=5,
        slopes=SLOPES,
        causal=True,
        scale=0.25,
        cap=1.0,
        D=2,
        loud=0.0625,
    )
    yield vector(354, "a window of as many keys as there are", B=1, T=3, S=3, E=3, window=(3, 3))
    yield from causal_alone()


def causal_alone() -> Iterator[Vector]:
    """The flag and nothing else, values as wide as keys: sizes that coincide, and loud numbers."""
    few: dict[str, Any] = {"D": 5, "E": 5, "causal": True}
    three = {"T": 3, "S": 3, **few}
    yield vector(
        355, "causal, five tokens, three items, three heads", B=3, H=3, S=5, T=5, causal=True, D=7
    )
    yield vector(356, "causal, eleven tokens", B=1, T=11, S=11, D=13, E=13, causal=True, loud=1.0)
    yield vector(357, "causal, two items of two tokens, one head", H=1, T=2, S=2, **few)
    yield vector(358, "causal, three items of three tokens, one head", B=3, H=1, **three)
    yield vector(359, "causal, one item, three heads, three tokens", B=1, H=3, **three)
    yield vector(360, "causal, one token", B=1, T=1, S=1, **few)
    yield vector(361, "causal, one item of one head", B=1, H=1, **three)
    one = vector(362, "causal, scores of hundreds", B=1, **three)
    yield replace(one, queries=Exact(one.queries.integers, 16.0))
    one = vector(363, "causal, values of hundreds", **three)
    yield replace(one, values=Exact(one.values.integers, 32.0))
    one = vector(364, "causal, a hidden key of thousands, a last query of zero", B=1, **three)
    queries, keys = one.queries.integers.copy(), one.keys.integers.copy()
    queries[..., -1, :] = 0
    keys[..., -1, :] *= 2**13
    yield replace(one, queries=Exact(queries, 0.25), keys=Exact(keys, 0.25))


def below() -> Seen:
    """A mask of pairs with a diagonal, that hides one of the past and shows some of the future."""
    return np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]], dtype=bool)[None, None]


def diagonal(size: int) -> Seen:
    """A mask of pairs with a diagonal."""
    mask = seen("351/mask", (1, 1, size, size))
    mask[..., np.arange(size), np.arange(size)] = True
    return mask


def cornered() -> Iterator[dict[str, Any]]:
    """What is placed by the corner, where keys and queries differ in number."""
    yield {"comment": "causal, more keys than queries", "causal": True}
    yield {"comment": "causal, one query", "causal": True, "T": 1}
    yield {"comment": "causal and a mask", "causal": True, "mask": whole()}
    yield {"comment": "a window", "window": (1, 0)}
    yield {"comment": "a window of two sides", "window": (1, 1)}
    yield {"comment": "a window and causal", "window": (1, 1), "causal": True}
    yield {"comment": "slopes", "slopes": SLOPES, "B": 1, "D": 2, "loud": 0.0625}
    yield {
        "comment": "slopes, causal, and a cap",
        "slopes": SLOPES,
        "causal": True,
        "cap": 1.0,
        "D": 2,
        "loud": 0.0625,
    }
    yield {"comment": "causal and shared heads", "causal": True, "H": 4, "G": 2, "B": 1}


def whole() -> Seen:
    """A mask that hides the third key, and is given where the flag is."""
    mask = np.ones((1, 1, 3, 5), dtype=np.bool_)
    mask[..., 1:, 1] = False
    return mask


@group("top-left", "The first query stands at the first key.", align="top left")
def top_left() -> Iterator[Vector]:
    """More keys than queries, and fewer."""
    for number, told in enumerate(cornered(), 401):
        yield vector(number, **told)
    yield vector(421, "causal, more queries than keys", T=5, S=3, E=3, causal=True)


@group("bottom-right", "The last query stands at the last key.", align="bottom right")
def bottom_right() -> Iterator[Vector]:
    """More keys than queries."""
    for number, told in enumerate(cornered(), 441):
        yield vector(number, **told)


def empty_rows(start: int) -> Iterator[Vector]:
    """A row that sees nothing beside rows that do."""
    mask = np.ones((2, 1, 3, 5), dtype=np.bool_)
    mask[0, :, 1] = False
    mask[1, :, 2, 1:] = False
    yield vector(start, "one query of one item sees nothing", mask=mask)
    square = np.array([[0, 1, 1], [1, 1, 0], [1, 0, 1]], dtype=bool)[None, None]
    yield vector(
        start + 1,
        "mask and flag leave the first query nothing",
        T=3,
        S=3,
        E=3,
        mask=square,
        causal=True,
    )
    bias = Exact(np.zeros((1, 1, 3, 5), dtype=np.int64), 1.0, ~mask[:1])
    yield vector(start + 2, "a bias of minus infinities for one query", bias=bias)
    twice = np.array([[0, 1, 0], [1, 1, 0], [1, 0, 1]], dtype=bool)[None, None]
    yield vector(
        start + 4,
        "mask and flag leave the first query nothing, and hide one key twice",
        T=3,
        S=3,
        E=3,
        mask=twice,
        causal=True,
    )
    yield vector(start + 3, "an item that is padding alone", T=2, padding=padding(5, 0, 4))


@group("empty-rows-zeros", "A query that sees nothing gives zeros.", empty="zeros")
def zeros() -> Iterator[Vector]:
    """Five of them."""
    yield from empty_rows(501)


@group("empty-rows-nan", "A query that sees nothing gives NaN, and no other row does.", empty="nan")
def nan() -> Iterator[Vector]:
    """Five of them."""
    yield from empty_rows(521)


@group(
    "empty-rows-uniform", "A query that sees nothing gives the mean of all values.", empty="uniform"
)
def uniform() -> Iterator[Vector]:
    """Five of them."""
    yield from empty_rows(541)


@group(
    "empty-rows-bottom-right",
    "More queries than keys, bottom right: the first queries see nothing, and give zeros.",
    align="bottom right",
    empty="zeros",
)
def empty_bottom_right() -> Iterator[Vector]:
    """As flash-attention has it."""
    yield vector(561, "causal, more queries than keys", T=5, S=3, E=3, causal=True)
    yield vector(562, "a window of the past", T=5, S=3, E=3, window=(1, 0))
