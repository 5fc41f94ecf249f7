"""Scripts about the range of a format."""

from __future__ import annotations

from collections.abc import Iterator

from properties.cases.case import Case
from properties.findings.recording import Tape, built
from properties.findings.scripts.asking import given, run
from properties.findings.scripts.recipes import recipe
from properties.findings.scripts.script import Script
from properties.spec.clauses.numerics import with_large_products


@recipe("numerics/scores-of-float16-fit-once-scaled")
def fits_once_scaled(case: Case, tape: Tape) -> Iterator[Script]:
    """q.k is beyond the largest number of float16, and its scaled score is not."""
    large = with_large_products(case)
    script = Script(case.subject)
    module = script.build(built(large))
    run(script, module, given(script, large), "output")
    script.add("assert output.isfinite().all(), f'expected finite numbers, got {output}'")
    yield script
