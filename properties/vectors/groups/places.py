"""Where tokens stand: rotary positions, a past, packed documents; and which weights dropout leaves."""

from __future__ import annotations

from collections.abc import Iterator

from properties.truth.positions import Pairing
from properties.vectors.exact import seen
from properties.vectors.groups import group, vector
from properties.vectors.vector import Turn, Vector

ROTARY = "Queries and keys are turned at their positions before they meet; a pair of columns is "


def turned(start: int, pairing: Pairing) -> Iterator[Vector]:
    """Positions from zero, from a start, causal, of a part of a head."""
    three, five = range(3), range(5)
    yield vector(start, "positions from zero", B=2, D=8, T=3, rotary=Turn(three, five, pairing))
    yield vector(
        start + 1,
        "causal, more heads than items",
        B=1,
        H=3,
        D=4,
        T=3,
        S=3,
        E=3,
        causal=True,
        rotary=Turn(three, three, pairing),
    )
    later = range(11, 14)
    yield vector(
        start + 2,
        "positions from a start",
        B=1,
        D=4,
        S=3,
        E=3,
        rotary=Turn(later, later, pairing, 100.0),
    )
    yield vector(
        start + 3,
        "half of a head is turned",
        B=1,
        D=8,
        T=2,
        loud=1.0,
        rotary=Turn((97, 307), (0, 1, 97, 98, 307), pairing, 100.0, 0.5),
    )
    far = (0, 97, 307)
    yield vector(
        start + 5,
        "tokens far from each other",
        B=1,
        D=4,
        S=3,
        E=3,
        loud=1.0,
        rotary=Turn(far, far, pairing),
    )
    yield vector(
        start + 4,
        "values as wide as keys",
        B=1,
        D=4,
        T=2,
        E=5,
        rotary=Turn(range(3, 5), five, pairing, 100.0),
    )


@group("rotary-halves", f"{ROTARY}i and i + R / 2.")
def halves() -> Iterator[Vector]:
    """GPT-NeoX, Llama in transformers."""
    yield from turned(601, "halves")


@group("rotary-neighbours", f"{ROTARY}2 i and 2 i + 1.")
def neighbours() -> Iterator[Vector]:
    """GPT-J, Llama as published."""
    yield from turned(621, "neighbours")


@group(
    "cache",
    "Keys and values of a past, then the present; the first query stands behind the past.",
    align="bottom right",
)
def cache() -> Iterator[Vector]:
    """One token and several, with positions and without."""
    yield vector(641, "one token after a past of four", T=1, causal=True, past=4)
    yield vector(642, "three tokens after a past of two", causal=True, past=2, pick=7)
    yield vector(643, "shared heads", B=1, H=4, G=2, T=2, causal=True, past=3)
    turn = Turn(range(4, 5), range(5), "halves", 100.0)
    yield vector(644, "rotary positions, one token", D=4, T=1, causal=True, past=4, rotary=turn)
    turn = Turn(range(3, 5), range(5), "halves", 100.0)
    yield vector(645, "rotary positions, two tokens", D=4, T=2, causal=True, past=3, rotary=turn)
    yield vector(646, "a window over the past", B=1, T=2, causal=True, past=3, window=(1, 0))


@group(
    "packed",
    "Documents one after the other, as cu_seqlens says; each is attended alone, bottom right.",
    align="bottom right",
    empty="zeros",
)
def packed() -> Iterator[Vector]:
    """Documents of different lengths."""
    seven, starts = {"B": 1, "T": 7, "S": 7, "E": 7}, ((0, 2, 5, 7), (0, 2, 5, 7))
    yield vector(661, "three documents", **seven, starts=starts)
    yield vector(662, "causal", **seven, causal=True, starts=starts)
    yield vector(
        663,
        "causal, other keys than queries",
        B=1,
        T=5,
        S=11,
        E=11,
        causal=True,
        starts=((0, 2, 3, 5), (0, 3, 7, 11)),
    )
    yield vector(664, "an empty document", B=1, T=5, S=5, E=5, starts=((0, 2, 2, 5), (0, 2, 2, 5)))
    yield vector(
        665,
        "an empty document of queries",
        B=1,
        T=5,
        S=7,
        E=7,
        causal=True,
        starts=((0, 2, 2, 5), (0, 2, 4, 7)),
    )
    yield vector(666, "shared heads", B=1, H=4, G=2, T=5, S=5, E=5, starts=((0, 2, 5), (0, 2, 5)))


@group("dropout", "Which weights are kept is given; each of them is divided by 1 - p.")
def dropout() -> Iterator[Vector]:
    """Two probabilities."""
    kept = seen("681/kept", (2, 2, 3, 5))
    yield vector(681, "p of a quarter", kept=kept, dropout=0.25)
    one = {"B": 1, "T": 2, "S": 1, "E": 2}
    kept = seen("683/kept", (1, 2, 2, 1))
    yield vector(683, "p of three quarters, one key", **one, loud=0.0625, dropout=0.75, kept=kept)
    kept = seen("684/kept", (1, 2, 2, 1))
    yield vector(684, "p of a quarter, one key", **one, loud=0.0625, dropout=0.25, kept=kept)
    kept = seen("682/kept", (2, 2, 3, 3), 4)
    yield vector(682, "p of a half, causal", S=3, E=3, kept=kept, dropout=0.5, causal=True)
