"""shape/: what comes out has the size and type that the input and the constructor say."""

from __future__ import annotations

from properties.assertions import require
from properties.case import Case
from properties.spec import Level, clause


@clause(
    "shape/output-shape",
    Level.MUST,
    "The output has one row of H * D numbers (plain: d_in) for every token of every batch item.",
    after=(),
)
def output_shape(case: Case) -> None:
    """Heads are concatenated, so their widths add up: d_out for one head and for weight splits,
    d_out * H for the wrapper, d_in where there are no projections. Every other clause needs this.
    """
    expected = (case.sizes.batch, case.sizes.tokens, case.sizes.width)
    actual = case.output.shape
    require(actual == expected, f"an output of shape {expected}", f"{actual}")
