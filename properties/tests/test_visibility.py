"""Who sees whom, counted by hand, and the slopes of ALiBi as they were published."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties.truth import visibility
from properties.truth.request import Request
from properties.truth.visibility import Align, alibi, causal, documents, everything, window

sizes = st.integers(1, 6)
aligns = st.sampled_from(["top left", "bottom right"])


@given(t=sizes, s=sizes, align=aligns, past=st.integers(0, 3))
def test_causal_hides_what_comes_after_the_querys_own_position(
    t: int, s: int, align: Align, past: int
) -> None:
    """Query i stands at i + offset."""
    offset = past + (s - t if align == "bottom right" else 0)
    seen = causal(t, s, align, past)
    assert seen.shape == (t, s)
    assert all(seen[i, j] == (j <= i + offset) for i in range(t) for j in range(s))


@given(t=sizes, s=sizes, left=st.integers(-1, 7), right=st.integers(-1, 7), align=aligns)
def test_a_window_counts_others_besides_oneself(
    t: int, s: int, left: int, right: int, align: Align
) -> None:
    """On each side; -1 is no limit."""
    offset = s - t if align == "bottom right" else 0
    seen = window(t, s, left, right, align)
    for i, j in np.ndindex(t, s):
        before, after = i + offset - j, j - i - offset
        assert seen[i, j] == ((left < 0 or before <= left) and (right < 0 or after <= right))


def test_windows_at_their_edges_are_what_they_are_called() -> None:
    """One of none sees itself alone, one without limits everything, one to the left is causal."""
    assert (window(4, 4, 0, 0) == np.eye(4, dtype=bool)).all()
    assert (window(3, 5, -1, -1) == everything(3, 5)).all()
    assert (window(4, 4, -1, 0) == causal(4, 4)).all()
    assert (window(2, 5, -1, 0, "bottom right") == causal(2, 5, "bottom right")).all()
    assert (causal(2, 5, "bottom right") == causal(2, 5, past=3)).all()


def test_documents_see_their_own_keys() -> None:
    """And keep a batch axis."""
    seen = documents(np.array([0, 0, 1]), np.array([0, 1, 1, 2]))
    assert seen.tolist() == [[True, False, False, False]] * 2 + [[False, True, True, False]]
    assert documents(np.zeros((2, 3), int), np.ones((2, 4), int)).shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (lambda: window(2, 2, -2, 0), ValueError, "left is -2"),
        (lambda: causal(2, 2, "left"), ValueError, "align is 'left'"),
        (lambda: Request(visible=np.zeros((2, 2))), TypeError, "as bias"),
        (lambda: Request(cap=0.0), ValueError, "cap is 0.0"),
        (lambda: Request(empty="zero"), ValueError, "empty is 'zero'"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: object, error: type, says: str) -> None:
    """With what was expected."""
    with pytest.raises(error, match=says):
        wrong()


def published(heads: int) -> list[float]:
    """The recursion by which the slopes were published, written as there: ratios of a power of two."""
    power = math.log2(heads)
    if power.is_integer():
        ratio = 2.0 ** -(2.0 ** -(power - 3.0))
        return [ratio * ratio**h for h in range(heads)]
    below = 2 ** math.floor(power)
    return published(below) + published(2 * below)[0::2][: heads - below]


@pytest.mark.parametrize("heads", [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 40])
def test_slopes_of_alibi_are_the_published_ones(heads: int) -> None:
    """Also for a number of heads that is no power of two."""
    assert visibility.slopes(heads) == pytest.approx(published(heads), rel=1e-14)


def test_twelve_heads_have_eight_slopes_of_eight_and_four_of_sixteen() -> None:
    """1/2 to 1/256, then 2**-0.5, 2**-1.5, 2**-2.5 and 2**-3.5."""
    eight, four = [2.0**-h for h in range(1, 9)], [2.0 ** -(h + 0.5) for h in range(4)]
    assert visibility.slopes(12) == pytest.approx(eight + four, rel=1e-15)


def test_alibi_is_minus_slope_times_distance() -> None:
    """Measured bottom right unless it is told otherwise."""
    slopes = np.array([0.5, 0.25])
    assert alibi(slopes, 2, 3)[0].tolist() == [[-0.5, 0.0, -0.5], [-1.0, -0.5, 0.0]]
    assert alibi(slopes, 2, 3, "top left")[1].tolist() == [[0.0, -0.25, -0.5], [-0.25, 0.0, -0.25]]
