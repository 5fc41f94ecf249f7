"""How long a verdict takes: `python benchmarks/pace.py [TARGET ...]`.

Prints, per target, the processor's seconds of profiles quick and ci, which hardly depend on how busy a
machine is, those of the clock, and the ratio of the former to one forward and backward pass repeated a
thousand times in the same process, so that runs on unlike machines compare. What torch imports of itself
is not counted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.export._trace  # torch leaves it, and what it needs, to the first export

from properties.recognition.targets import find
from properties.runs.runner import quiet_and_repeatable, run

TARGETS = ("attention:MultiHeadAttention",)


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """How long it takes: the processor's seconds, and those of the clock."""
    start, started = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - start, time.perf_counter() - started


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
        yardstick = min(seconds(thousand_passes)[0] for _ in range(3))
    print(f"yardstick: 1000 forward and backward passes, {yardstick:.2f} CPU s")
    for target in targets or TARGETS:
        subject = find(target)[0]
        for profile in ("quick", "ci"):
            taken, waited = seconds(partial(run, subject, profile=profile))
            words = f"{taken:.1f} CPU s, {waited:.1f} s, {taken / yardstick:.1f} yardsticks"
            print(f"{target} {profile}: {words}")


if __name__ == "__main__":
    main(sys.argv[1:])
