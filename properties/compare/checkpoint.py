"""What is saved: the names, shapes and kinds of parameters and buffers, and whether old files load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from properties.basics.assertions import Violation
from properties.cases.case import Case
from properties.compare.mapping import Names, renamed, times
from properties.compare.outcome import Change
from properties.compare.results import AXES, Pair, agree, on
from properties.recognition.adapters.messages import listed
from properties.spec.clauses.shape import emptied
from properties.subjects.instance import Instance


@dataclass(frozen=True)
class Entry:
    """One entry of a state_dict."""

    kind: str
    shape: tuple[int, ...]
    dtype: str


def entries(module: torch.nn.Module) -> dict[str, Entry]:
    """The tensors of the state_dict by name."""
    own = dict(module.named_parameters())
    found = {}
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            frozen = name in own and not own[name].requires_grad
            kind = "frozen parameter" if frozen else "parameter" if name in own else "buffer"
            found[name] = Entry(kind, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
    return found


def compare_checkpoints(
    pair: Pair, case: Case, mapping: Names, judged: bool
) -> tuple[list[Change], list[str]]:
    """What an old checkpoint meets in the new module, as changes and as notes.

    mapping: names that are meant to change; judged: whether outputs are the same to begin with, so
    that those after loading can be compared.
    """
    if not all(subject.has("module") for subject in pair.sides):
        return [], []
    old, new = (on(case, subject).build() for subject in pair.sides)
    before = {renamed(name, mapping): entry for name, entry in entries(old.module).items()}
    after = entries(new.module)
    blank = on(emptied(case), pair.new).build()
    problem = load_problem(old, blank, case, mapping, judged)
    changes = kinds_changed(before, after)
    gone = [f"{n} {times(before[n].shape)}" for n in before if n not in after]
    come = [f"{n} {times(after[n].shape)}" for n in after if n not in before]
    for name in before:
        if name in after and before[name].shape != after[name].shape:
            gone.append(f"{name} {times(before[name].shape)}")
            come.append(f"{name} {times(after[name].shape)}")
    notes = dtype_notes(before, after)
    if problem:
        fallback = ("the same entries", problem)
        told = (listed(gone, "nothing"), listed(come, "nothing")) if gone or come else fallback
        changes.insert(0, Change("checkpoint", "an old state_dict does not load", *told))
    elif gone or come:
        notes.append(
            f"the state_dict has other entries ({listed(come, 'nothing')} for "
            f"{listed(gone, 'nothing')}), and an old one loads all the same"
        )
    return changes, notes


def load_problem(old: Instance, blank: Instance, case: Case, mapping: Names, judged: bool) -> str:
    """Why the old state_dict does not go into the new module, or ''.

    Raises Violation where it loads but then means something else.
    """
    state: dict[str, Any] = {
        renamed(name, mapping): tensor for name, tensor in old.module.state_dict().items()
    }
    try:
        blank.module.load_state_dict(state)
    except Exception as error:  # whatever it is, it is what a user would meet
        return " ".join(str(error).split())[:300]
    if judged:
        agree("the output", old.run(case.x), blank.run(case.x), 2.0 * case.budget.output, AXES)
    return ""


def misread(violation: Violation) -> Change:
    """The change that an old checkpoint loads and then means something else."""
    what = "an old state_dict loads, and the output is another"
    return Change("checkpoint", what, violation.expected, str(violation).partition("; got ")[2])


def kinds_changed(before: dict[str, Entry], after: dict[str, Entry]) -> list[Change]:
    """Parameters that are buffers now, frozen now, or the other way round."""
    return [
        Change("checkpoint", f"{name} changed its kind", before[name].kind, after[name].kind)
        for name in before
        if name in after and before[name].kind != after[name].kind
    ]


def dtype_notes(before: dict[str, Entry], after: dict[str, Entry]) -> list[str]:
    """Entries kept in another dtype: an old checkpoint is converted while it is loaded."""
    return [
        f"{name} is kept as {after[name].dtype}, was {before[name].dtype}"
        for name in before
        if name in after and before[name].dtype != after[name].dtype
    ]
