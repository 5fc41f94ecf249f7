"""Whether anything has become slower: `python benchmarks/guard.py` (or `tox -e bench`).

Measures ratios of processor time, each of our work to a yardstick of the same machine in the same minute,
writes them as JSON (--json FILE) and compares them with the committed ones in ratios.json: exit code
1 where one is more than a third above, or is not committed. `--commit` writes them there instead.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from pace import seconds, thousand_passes

from attention import FusedMultiHeadAttention, MultiHeadAttention
from properties.recognition.targets import find
from properties.runs.runner import quiet_and_repeatable, run

COMMITTED = Path(__file__).parent / "ratios.json"
ALLOWED = 4 / 3  # of a committed ratio; what a busy machine does to one is a tenth or two
TIMES = 3  # the best of so many counts
Ratios = dict[str, float]


def ratios() -> Ratios:
    """Our work in units of a yardstick, by what it is."""
    passes = best(partial(used, thousand_passes))
    bare = best(partial(started, "-c", "import argparse, rich.console"))
    fused = best(partial(used, partial(steps, FusedMultiHeadAttention)))
    return {
        "check at quick / 1000 small passes": best(partial(used, check)) / passes,
        "the command clauses / rich": best(partial(started, "-m", "properties", "clauses")) / bare,
        "the command --help / rich": best(partial(started, "-m", "properties", "--help")) / bare,
        "reference / fused, T = 256": best(partial(used, partial(steps, MultiHeadAttention)))
        / fused,
    }


def best(measure: Callable[[], float]) -> float:
    """The shortest of a few times."""
    return min(measure() for _ in range(TIMES))


def used(work: Callable[[], object]) -> float:
    """The processor's seconds of work in this process, with one thread."""
    with quiet_and_repeatable():
        return seconds(work)[0]


def started(*arguments: str) -> float:
    """The processor's seconds of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def check() -> None:
    """The verdict on the reference."""
    run(find("attention:MultiHeadAttention")[0], profile="quick")


def steps(kind: Callable[..., torch.nn.Module]) -> None:
    """Twenty forward and backward passes of 256 tokens, width 256, eight heads."""
    module, x = kind(256, 256, 256, 0.0, 8), torch.randn(2, 256, 256)
    for _ in range(20):
        module(x).sum().backward()


def slower(now: Ratios, before: Ratios) -> list[str]:
    """What is more than a third above what is committed, or on one side alone."""
    told = []
    for name in {**now, **before}:
        if name not in now or name not in before:
            told.append(f"{name}: {'not measured' if name not in now else 'not committed'}")
        elif now[name] > ALLOWED * before[name]:
            told.append(f"{name}: {now[name]:.2f}, committed {before[name]:.2f}")
    return told


def committed() -> Ratios:
    """What is committed; nothing before the first time."""
    return json.loads(COMMITTED.read_text(encoding="utf-8")) if COMMITTED.exists() else {}


def main(arguments: list[str]) -> int:
    """Measure, write, compare."""
    parser = argparse.ArgumentParser(description="whether anything has become slower")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the ratios")
    parser.add_argument("--commit", action="store_true", help="write them to ratios.json")
    options = parser.parse_args(arguments)
    now = {name: round(ratio, 3) for name, ratio in ratios().items()}
    text = json.dumps(now, indent=1) + "\n"
    for path in filter(None, [options.json, COMMITTED if options.commit else None]):
        path.write_text(text, encoding="utf-8")
    print(text, end="")
    told = slower(now, committed())
    for line in told:
        print(f"SLOWER {line}")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
