"""How accurate attention is, by format: lines for a terminal, JSON, and a page for docs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from properties.runs.accuracy import Accuracy, Worst

SCHEMA = "attention-properties/accuracy/1"
PAGE = """# How accurate attention is

The largest error that a search found, by implementation and format: as a share of the error bound that
the verdict goes by, and in units in the last place (ulps) of the largest value of its row. Each search
took {examples} examples from seed {seed}, half of them drawn, half of them made worse by Hypothesis's
`target`; what looked worst was measured against sixty decimal digits. Sizes are at most {largest}, numbers
are exact in the format, and rows whose magnitudes leave the format's range are left out. A search finds a
lower bound: there may be worse inputs. A module is measured with its projections, a function by itself.
Where W = H * D is 1 a row is one number, which may be near zero because terms cancel.

    attention-properties accuracy {asked} \\
      --examples {examples} --seed {seed} --page docs/accuracy.md

{versions}.

| implementation | format | share of the bound | ulps | the input with most ulps |
|---|---|---|---|---|
{rows}
"""


def lines(found: Iterable[Accuracy]) -> Iterator[str]:
    """Two lines for each format: what was found, and on which input."""
    for each in found:
        yield f"{each.subject} in {each.dtype}, {each.counted} of {each.examples} examples counted"
        yield from (f"  {line}" for line in worst_lines(each))


def worst_lines(each: Accuracy) -> Iterator[str]:
    """The largest share and the largest error, each with its case."""
    if each.share is None or each.ulps is None:
        yield "nothing could be measured"
        return
    yield f"{share(each.share)} of the bound  {each.share.told}"
    yield f"{ulps(each.ulps)} ulps of the row's largest  {each.ulps.told}"


def share(worst: Worst) -> str:
    """A share as a percentage."""
    return f"{worst.value:.1%}"


def ulps(worst: Worst) -> str:
    """A number of units in the last place."""
    return f"{worst.value:.2f}"


def as_json(found: Iterable[Accuracy]) -> str:
    """Everything, the cases in full."""
    document = {"schema": SCHEMA, "found": [each.to_dict() for each in found]}
    return json.dumps(document, indent=1) + "\n"


def page(
    found: list[Accuracy], asked: Iterable[str], largest: int, versions: Mapping[str, str]
) -> str:
    """The page for docs; asked: words of the command line, besides examples and seed."""
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    return PAGE.format(
        examples=max(each.examples for each in found),
        seed=found[0].seed,
        largest=largest,
        asked=shlex.join(asked),
        versions=f"Measured on a CPU with {names}",
        rows="\n".join(row(each) for each in found),
    )


def row(each: Accuracy) -> str:
    """A line of the table."""
    if each.share is None or each.ulps is None:
        return f"| `{each.subject}` | {each.dtype} | - | - | - |"
    cells = (f"`{each.subject}`", each.dtype, share(each.share), ulps(each.ulps), each.ulps.told)
    return f"| {' | '.join(cells)} |"


def write(path: Path, text: str) -> None:
    """The file, in one go."""
    path.write_text(text, encoding="utf-8")
