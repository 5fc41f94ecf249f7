"""What a call of queries, keys and values means, as a script says it: the arguments of `right`.

Legend: B batch, H query heads, T queries, S keys.
"""

from __future__ import annotations

import numpy as np
import torch

from properties.findings.scripts import text
from properties.findings.scripts.call_source import CallScript, Told

AHEAD = "ahead"  # (T, S): how many places a key stands after the query's own


def definition(script: CallScript, told: Told, *between: str) -> str:
    """The arguments of the definition for a call; who sees whom is written before, as `sees`.

    between: sources of arguments that stand between the inputs and `sees`.
    """
    conditions, further = seeing(script, told), {}
    asked = told.call.question
    a = asked.arguments
    if a.bias is not None:
        further["bias"] = f"{told.options[script.subject.takes['bias']]}.detach().double().numpy()"
    if a.slopes is not None and a.documents is not None:
        further["bias"] = f"{text.tensor(np.asarray(asked.request.bias))}.numpy()"
    elif a.slopes is not None:
        slopes = f"{told.options[script.subject.takes['slopes']]}.double().numpy()"
        distance = f"-{slopes}[..., None, None] * abs({AHEAD})"
        further["bias"] = " + ".join(filter(None, (further.get("bias"), distance)))
    further |= {n: repr(v) for n in ("scale", "cap") if (v := getattr(a, n)) is not None}
    if a.documents is None and (a.window is not None or a.slopes is not None):
        script.lines.append(f"{AHEAD} = {ahead(told)}")
    sees = "True"
    if conditions:
        script.lines.append(f"sees = {' & '.join(conditions)}")
        sees = "sees"
    named = (f"{name}={value}" for name, value in further.items())
    return ", ".join((*told.parts.values(), *between, sees, *named))


def seeing(script: CallScript, told: Told) -> list[str]:
    """The conditions under which a query sees a key, each an expression."""
    asked, takes, kept = told.call.question, script.subject.takes, script.subject.conventions
    a, (_, _, tokens, keys) = asked.arguments, asked.shape
    if a.documents is not None:  # each with a corner of its own: who sees whom is written out
        seen = asked.request.visible.astype(int).tolist()
        return [f"torch.tensor({seen}).bool().numpy()"]
    found = []
    if a.mask is not None and not (a.bias is not None and takes["mask"] == takes["bias"]):
        found.append(shown(told, takes["mask"], kept.mask))
    if a.padding is not None:
        found.append(f"{shown(told, takes['padding'], kept.padding)}[:, None, None, :]")
    if a.segments is not None:
        ids = f"{told.options[takes['segments']]}.numpy()"
        found.append(f"({ids}[:, None, :, None] == {ids}[:, None, None, :])")
    if asked.hides_the_future:
        offset = f", {keys - tokens}" if asked.align == "bottom right" and keys != tokens else ""
        found.append(f"np.tri({tokens}, {keys}{offset}, dtype=bool)")
    if a.window is not None:
        left, right = a.window
        found += [f"({AHEAD} >= {-left})"] * (left >= 0) + [f"({AHEAD} <= {right})"] * (right >= 0)
    return found


def shown(told: Told, name: str, convention: str) -> str:
    """True where a mask shows a key."""
    if convention == "counts":
        keys = told.call.question.shape[3]
        return f"(np.arange({keys}) < {told.options[name]}.numpy()[:, None])"
    inverted = "~" if convention == "hide" else ""
    boolean = "" if told.tensors[name].dtype == torch.bool else ".bool()"
    return f"{inverted}{told.options[name]}{boolean}.numpy()"


def ahead(told: Told) -> str:
    """How many places each key stands after the query's own."""
    asked = told.call.question
    _, _, tokens, keys = asked.shape
    offset = keys - tokens if asked.align == "bottom right" else 0
    moved = "" if not offset else f" - {offset}" if offset > 0 else f" + {-offset}"
    return f"np.arange({keys}) - np.arange({tokens})[:, None]{moved}"
