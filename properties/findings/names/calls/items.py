"""A question that was asked, the answer to it, and which wrong forms agree with that."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from properties.cases.question import Question
from properties.findings.names.calls.form import RIGHT, SEEING, Form, agrees
from properties.subjects.call import PLAINLY, Answer, Handing


class Item:
    """A question, the subject's answer (None where it raised), and what agrees with it; handing: how the
    call was made.
    """

    def __init__(self, asked: Question, answer: Answer | None, handing: Handing = PLAINLY) -> None:
        self.asked, self.answer, self.handing = asked, answer, handing
        self.told: dict[int, bool] = {}

    def agrees(self, form: Form) -> bool:
        """Whether the answer is what the form gives."""
        if id(form) not in self.told:
            with np.errstate(all="ignore"):
                self.told[id(form)] = self.judged(form)
        return self.told[id(form)]

    def judged(self, form: Form) -> bool:
        """The same, asked once for each form."""
        return agrees(form, self.asked, self.answer)

    @cached_property
    def right(self) -> bool:
        """Whether the answer is the definition's."""
        return self.agrees(RIGHT)

    @property
    def off(self) -> bool:
        """Whether it is wrong in a row that sees something."""
        return not self.agrees(SEEING)
