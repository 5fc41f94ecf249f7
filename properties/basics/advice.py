"""What a subject lacks, in the words of its adapter: the reason, and a way out where there is one."""

from __future__ import annotations

import textwrap

WAY_OUT = " What to do: "


def reason(lacking: str) -> str:
    """Why something is lacking, without the way out."""
    return lacking.partition(WAY_OUT)[0]


def way_out(lacking: str) -> tuple[str, str]:
    """What to do, and the code to do it with; empty where nothing is known."""
    words, _, code = lacking.partition(WAY_OUT)[2].partition("\n")
    return words, textwrap.dedent(code).strip("\n")
