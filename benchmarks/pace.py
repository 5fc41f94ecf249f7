"""How long a verdict takes: `python benchmarks/pace.py [TARGET ...]`.

Prints, per target, the seconds of profiles quick and ci and their ratio to one forward and backward
pass repeated a thousand times in the same process, so that runs on unlike machines compare.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import torch

from properties.recognition.targets import find
from properties.runs.runner import quiet_and_repeatable, run

TARGETS = ("attention:MultiHeadAttention",)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def thousand_passes() -> None:
    """The yardstick: a small multi-head module, forward and backward."""
    from attention import MultiHeadAttention

    module = MultiHeadAttention(8, 8, 8, 0.0, 2)
    x = torch.randn(2, 8, 8)
    for _ in range(1000):
        module(x).sum().backward()


def main(targets: list[str]) -> None:
    """One line for each target."""
    with quiet_and_repeatable():
        yardstick = min(seconds(thousand_passes) for _ in range(3))
    print(f"yardstick: 1000 forward and backward passes, {yardstick:.2f} s")
    for target in targets or TARGETS:
        subject = find(target)[0]
        for profile in ("quick", "ci"):
            taken = seconds(partial(run, subject, profile=profile))
            print(f"{target} {profile}: {taken:.1f} s, {taken / yardstick:.1f} yardsticks")


if __name__ == "__main__":
    main(sys.argv[1:])
