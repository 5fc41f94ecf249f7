"""The two ways a run can go wrong that are not bugs of this suite."""

from __future__ import annotations


class QuestionError(Exception):
    """The question could not be asked: a target, an option or an adapter is not usable.

    The message says what was wrong, what was expected and what to do. Exit code 2.
    """


class SubjectError(Exception):
    """The subject raised, or returned something that is no attention output, on valid input."""
