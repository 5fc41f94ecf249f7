"""Which formats and widths of heads a kernel takes: many take half precision, or some widths, alone.

What it refuses in words of its own is not asked. Whatever else raises is told.

Legend: D head_dim.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

from properties.basics.dtypes import FORMATS
from properties.recognition.adapters import trials
from properties.recognition.adapters.function_shell import (
    Function,
    random_heads,
    shell_of,
    ways,
)
from properties.recognition.foreign.bridge import Bridge
from properties.subjects.limits import Limits

TRIED = ("float32", "float16", "bfloat16")
LEAST = (1, 64, 128)
"""In this order the formats, and what D is a multiple of, in which some way to call is looked for."""
WIDEST = 256
"""Kernels that say how wide a head may be seldom allow more."""
OWN_WORD = re.compile(
    r"^raised (ValueError|AssertionError|NotImplementedError|NotSupported)|support|implemented|"
    r"available kernel|multiple of|power of|divisible|must be",
    re.IGNORECASE,
)
MISMATCH = re.compile(
    r"same dtype|scalar type|to match|mismatch|cannot reshape|broadcast|not aligned|to unpack",
    re.IGNORECASE,
)
"""What torch and NumPy say where two formats or shapes do not meet: that is a fault, and no refusal."""


def says_no(failure: str) -> bool:
    """Whether a failed trial is a refusal in the function's own words."""
    return bool(OWN_WORD.search(failure)) and not MISMATCH.search(failure)


def refused(failures: dict[str, str]) -> dict[str, str]:
    """The formats that are refused, and how: in the function's own words, or every wide one.

    failures: why it does not run, by format; "" where it does.
    """
    runs = {name for name, failure in failures.items() if not failure}
    short_alone = bool(runs) and not runs & {"float64", "float32"}
    lost = {name: failure for name, failure in failures.items() if failure}
    return {name: failure for name, failure in lost.items() if short_alone or says_no(failure)}


def limited(way: Function) -> Function:
    """The function with the widths of heads that it takes in all its formats: any, multiples of the least
    one, or that one times powers of two.
    """
    # Where small heads failed in every way to call it, whatever is raised is a refusal.
    narrow = way.limits.head_dims == 1
    if narrow and any(isinstance(one, Bridge) and one.arrays.compiled for one in ways(way.call)):
        return way  # each width would be compiled for a second or two
    roomy = way.limits.head_dim(LEAST[1])
    taken = [dtype for dtype in FORMATS if not failure(way, dtype, roomy)]

    @cache
    def refuses(width: int) -> bool:
        """Whether heads of this width are refused in one of the formats."""
        said = [words for dtype in taken if (words := failure(way, dtype, width))]
        return any(not narrow or says_no(words) for words in said)

    if not any(map(refuses, (1, 3, WIDEST))):
        return replace(way, limits=Limits())
    powers = [2**n for n in range(WIDEST.bit_length())]
    least = next(width for width in powers if not refuses(width))
    most = next(width for width in reversed(powers) if not refuses(width))
    doubling = most > least and refuses(3 * least)
    limits = Limits(
        head_dims=least, doubling=doubling, most_head_dim=None if most == WIDEST else most
    )
    return replace(way, limits=limits)


def failure(way: Function, dtype: str, width: int) -> str:
    """What a call in this format with heads of this width raises; "" where it returns."""
    one = replace(way, trial=dtype, limits=Limits(head_dims=width))
    parts = [random_heads(one, seed)[..., :width] for seed in range(3)]
    return trials.call(shell_of(one, "multihead").eval().attend, *parts).failure
