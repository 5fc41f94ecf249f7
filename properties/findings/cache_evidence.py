"""What a sequence gives that is fed in parts, in every way that a law feeds one; for pictures."""

from __future__ import annotations

from collections.abc import Iterator

from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError
from properties.cases.case import Case
from properties.cases.steps import Steps, in_words, splits


def fed(case: Case) -> Iterator[tuple[str, Array]]:
    """In words, and the output (B, T, W): token by token, in chunks, as a second sequence, and without
    the cache in the midst of one.
    """
    if not case.subject.has("cache"):  # a context alone is kept
        return
    tokens = case.sizes.tokens
    one_by_one = [1] * tokens
    try:
        for lengths in (one_by_one, *splits(tokens, case.cut)):
            yield in_words(lengths), Steps(case).run(case.x, lengths)
        if case.subject.has("reset cache"):
            steps = Steps(case)
            steps.run(case.other, one_by_one)
            yield "as a second sequence", steps.run(case.x, one_by_one)
        steps = Steps(case)
        steps.step(steps.begin(case.sizes.batch), case.other[:, :1])
        yield "without the cache, in the midst of a sequence", steps.alone(case.x)
    except OutsideError:
        return
