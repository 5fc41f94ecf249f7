"""The ways a run can go wrong besides a law that does not hold."""

from __future__ import annotations

CANNOT_ASK = 2
"""The exit code of a question that could not be asked, in full or at all."""
INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""


class QuestionError(Exception):
    """The question could not be asked: a target, an option or an adapter is not usable.

    The message says what was wrong, what was expected and what to do. Exit code 2.
    """


class SubjectError(Exception):
    """The subject raised, or returned something that is no attention output, on valid input."""


class OutsideError(SubjectError):
    """An input that the subject is known not to take: the example tells nothing about the law."""


class DeclinedError(OutsideError):
    """A call that the subject itself says it does not support."""


class DisputeError(Exception):
    """The two oracles disagree: one of them is wrong, and no subject is judged by either."""
