"""What an adapter claims of calls, held against what there is and what it answers.

Legend: B batch, T queries, W width of the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from properties.basics.errors import QuestionError, SubjectError
from properties.cases.question import Question, question
from properties.cases.strategies import make_case, pinned_sizes
from properties.recognition.adapters import messages
from properties.subjects.call import ANSWERS, ROLES, Answer, Conventions
from properties.subjects.instance import kind
from properties.subjects.subject import Subject


def require_calls(subject: Subject) -> None:
    """QuestionError where an adapter claims roles or answers that there are not, or its `ask` gives what
    is no answer to a call of the first pinned sizes.
    """
    require_known(subject)
    if subject.takes:
        sizes, dtype = pinned_sizes(subject)[0], subject.dtypes[0]
        case = make_case(subject, sizes, dtype, "ordinary", False, 0.0, 1, 0)
        require_answer(subject, question(case))


def require_known(subject: Subject) -> None:
    """QuestionError for a role or an answer to a convention that nobody knows."""
    takes = subject.takes
    unknown = sorted(map(str, set(takes) - set(ROLES))) if isinstance(takes, Mapping) else []
    if unknown or not isinstance(takes, Mapping):
        raise QuestionError(
            f"{subject.name}.takes {f'holds {messages.listed(unknown)}' if unknown else f'is {takes!r}'}"
            f".\nExpected: a dict of the argument for each role, the roles among {', '.join(ROLES)}.\n"
            "What to do: correct or remove what is not among them."
        )
    if not isinstance(subject.conventions, Conventions):
        raise QuestionError(
            f"{subject.name}.conventions is {kind(subject.conventions)}.\n"
            "Expected: a properties.subjects.call.Conventions.\n"
            'What to do: write conventions = Conventions(mask="attend"), say, in the class.'
        )
    for name, answer in asdict(subject.conventions).items():
        if answer and answer not in ANSWERS[name]:
            raise QuestionError(
                f"{subject.name}.conventions has {name}={answer!r}.\n"
                f'Expected: {" or ".join(ANSWERS[name])}, or "" where it is not known.\n'
                "What to do: correct it, or leave it out."
            )


def require_answer(subject: Subject, asked: Question) -> None:
    """QuestionError unless `ask` gives an `Answer` whose output is as large as it should be."""
    right = asked.truth.output.shape
    expected = f"an Answer with an output {sized(right)} (B, T, W), a NumPy array"
    try:
        answer = asked.answer()
    except SubjectError as error:
        raise messages.refusal(
            f"{subject.name}.ask cannot be asked: {error}.", expected, "correct its ask"
        ) from error
    if not isinstance(answer, Answer):
        came = kind(answer)
    elif not isinstance(answer.output, np.ndarray):
        came = f"an Answer with an output that is {kind(answer.output)}"
    elif answer.output.shape != right:
        came = f"an Answer with an output {sized(answer.output.shape)}"
    else:
        return
    raise messages.refusal(f"{subject.name}.ask returned {came}.", expected, "correct its ask")


def sized(shape: tuple[int, ...]) -> str:
    """2x5x12."""
    return "x".join(map(str, shape))
