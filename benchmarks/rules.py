"""What the rules of others let through, and whom they accuse.

    OMP_NUM_THREADS=1 python benchmarks/rules.py

Known faults and right implementations are held against nine rules: what each fault gives is computed in
float64 and rounded to the format once, as the best wrong kernel would have it; wrong and right functions of
`properties/zoo/wide` run in the format themselves. Inputs are random normal numbers, rows that one key
dominates (both with 64, 512 and 8192 keys), and those of `vectors/`. Prints the tables of docs/rules.md.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from rules_inputs import SIZES, Asked, kernels, random_calls, steep_calls, vector_calls

from properties.basics.dtypes import FORMATS, Array
from properties.vectors.selection import far
from properties.vectors.wrong import wrong_ones

LAST = "last key forgotten"
FORMATS_ASKED = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, eq=False)
class Held:
    """What a rule is given. found, right: as the format has them; plain: what a plain computation in the
    format gives; exact, bound: in float64; keys: how many are summed.
    """

    found: Array
    right: Array
    plain: Array
    exact: Array
    bound: Array
    keys: int
    dtype: str


Rule = Callable[[Held], bool]
"""Whether it lets what is found pass."""


def within(held: Held, rtol: float, atol: float) -> bool:
    """|found - right| <= atol + rtol |right|."""
    return bool((far(held.found, held.right) <= atol + rtol * np.abs(held.right)).all())


def torch_defaults(held: Held) -> bool:
    """torch.testing.assert_close, by the format."""
    rtol, atol = {"float32": (1.3e-6, 1e-5), "float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5)}[
        held.dtype
    ]
    return within(held, rtol, atol)


def twice_the_plain_error(held: Held) -> bool:
    """The largest error, against that of a plain computation in the same format."""
    own, plain = (far(part, held.right).max() for part in (held.found, held.plain))
    return bool(own <= 2.0 * plain + 1e-5)


def both_at_once(held: Held) -> bool:
    """Wrong only where the absolute and the relative error are both too large."""
    apart = far(held.found, held.right)
    return bool(((apart < 8e-4) | (apart / (np.abs(held.right) + 1e-6) < 2.01 / 128)).all())


def cosine(held: Held) -> bool:
    """Of all numbers as one vector."""
    one, other = held.found.ravel(), held.right.ravel()
    length = np.sqrt((one * one).sum() * (other * other).sum())
    return bool((one * other).sum() > 0.99 * length)  # false for NaN


def largest_magnitude(held: Held) -> bool:
    """Roundings of sums in float32 and of the result, of the largest number of all."""
    rounding = max(FORMATS[held.dtype].unit_roundoff, held.keys * FORMATS["float32"].unit_roundoff)
    return within(held, rounding, rounding * float(np.abs(held.right).max()))


def bound_of_each(held: Held) -> bool:
    """Ours."""
    return bool((far(held.found, held.exact) <= held.bound).all())


RULES: dict[str, Rule] = {
    "torch.testing defaults": torch_defaults,
    "twice the plain error": twice_the_plain_error,
    "1e-2 and 1e-2": lambda held: within(held, 1e-2, 1e-2),
    "1e-2 absolute": lambda held: within(held, 0.0, 1e-2),
    "1e-3 and 1e-3": lambda held: within(held, 1e-3, 1e-3),
    "absolute or relative": both_at_once,
    "cosine above 0.99": cosine,
    "largest magnitude": largest_magnitude,
    "a bound for each number": bound_of_each,
}


@dataclass
class Count:
    """By rule and format: the names that were asked, and those that a rule rejects in some call."""

    asked: set[str] = field(default_factory=set)
    rejected: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))


def held(asked: Asked, found: Array, dtype: str) -> Held:
    """One result in one format."""
    rounded = FORMATS[dtype].round
    return Held(
        rounded(found),
        asked.rounded(dtype),
        asked.plain(dtype),
        asked.right,
        asked.bound(dtype),
        asked.vector.shape[3],
        dtype,
    )


def judge(count: Count, name: str, asked: Asked, run: Callable[[str], Array]) -> None:
    """One name in each format, by all rules that have not rejected it yet."""
    count.asked.add(name)
    for dtype in FORMATS_ASKED:
        left = [rule for rule in RULES if name not in count.rejected[rule, dtype]]
        if left and asked.asks(dtype):
            one = held(asked, run(dtype), dtype)
            for rule in left:
                if not RULES[rule](one):
                    count.rejected[rule, dtype].add(name)


@dataclass
class Counts:
    """Of one kind of inputs; bare: of the last key forgotten where nothing else is told."""

    faults: Count = field(default_factory=Count)
    wrong: Count = field(default_factory=Count)
    right: Count = field(default_factory=Count)
    bare: Count = field(default_factory=Count)


def counted(calls: Iterator[Asked]) -> Counts:
    """Faults and wrong functions, each in the calls whose output it changes; right ones in all of them."""
    counts = Counts()
    for asked in calls:
        bare = all(value is None for value in vars(asked.vector.options).values())
        for name, parts in wrong_ones(asked.vector):
            if parts.output.shape != asked.right.shape:
                continue
            wrong = np.where(parts.nothing[..., None], asked.right, parts.output)
            if (far(wrong, asked.right) > 1e-12).any():
                for count in (counts.faults, counts.bare) if bare else (counts.faults,):
                    judge(count, name, asked, lambda _, wrong=wrong: wrong)
        for name, run in kernels(asked, right=True):
            judge(counts.right, name, asked, run)
        for name, run in kernels(asked, right=False):
            if (far(run("float64"), asked.right) > 1e-9).any():
                judge(counts.wrong, name, asked, run)
    return counts


def table(title: str, columns: dict[str, Count], accused: bool) -> Iterator[str]:
    """A row for each rule, three numbers for each column."""
    yield f"### {title}"
    yield ""
    yield "| rule | " + " | ".join(f"{c} ({len(n.asked)})" for c, n in columns.items()) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for rule in RULES:
        cells = []
        for count in columns.values():
            hits = [len(count.rejected[rule, dtype]) for dtype in FORMATS_ASKED]
            cells.append(" / ".join(str(n if accused else len(count.asked) - n) for n in hits))
        yield f"| {rule} | " + " | ".join(cells) + " |"
    yield ""


def of_the_last_key(counts: dict[str, Counts]) -> Iterator[str]:
    """In which formats each rule sees it."""
    columns = [f"{name}, {keys} keys" for keys in SIZES for name in ("normal", "dominated")]
    yield "| rule | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for rule in RULES:
        cells = []
        for column in columns:
            seen = counts[column].bare.rejected
            cells.append(", ".join(d for d in FORMATS_ASKED if LAST in seen[rule, d]) or "not seen")
        yield f"| {rule} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the tables."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "").parse_args()
    start = time.process_time()
    counts = {
        f"{name}, {keys} keys": counted(calls(keys))
        for keys in SIZES
        for name, calls in (("normal", random_calls), ("dominated", steep_calls))
    }
    counts["our vectors"] = counted(vector_calls())
    print("Each cell: float32 / bfloat16 / float16; in brackets, how many were asked.\n")
    for title, part, accused in (
        ("Known faults let through", "faults", False),
        ("Wrong functions let through", "wrong", False),
        ("Right functions accused", "right", True),
    ):
        columns = {name: getattr(found, part) for name, found in counts.items()}
        print("\n".join(table(title, columns, accused)))
    print("### The last key forgotten, where nothing is told but queries, keys and values\n")
    print("\n".join(of_the_last_key(counts)))
    print(f"\n{time.process_time() - start:.0f} CPU seconds.")


if __name__ == "__main__":
    main()
