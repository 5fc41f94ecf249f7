"""Whether a wrong formula explains that a clause failed: a subject that computes it is asked, too.

A formula that agrees with a subject on every example need not be why it breaks a given law: a wrong
scale does not change the number of parameters. So the clause is asked about a stand-in for the
subject, of the same family and with the same weights, that is right but for the wrong formula, on
the very case on which the subject failed:

    explains(name, clause, case) -> True    the stand-in breaks the clause there, too
                                    False   it does not: the clause failed for another reason
                                    None    unknown: nothing could be compared

`name` is one that `behaves_like` gave to this subject. None is the answer where a stand-in for
attention as it should be cannot pass: it computes in NumPy, so it has no gradient and cannot be
compiled.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from properties.cases.case import Case
from properties.findings.names.caches import contexts, layers
from properties.findings.names.caches import match as caches
from properties.findings.names.caches import told as masks
from properties.findings.names.calls import match as calls
from properties.findings.names.computed import passes
from properties.findings.names.dropout import habits
from properties.findings.names.examples import Example
from properties.findings.names.explanation import RIGHT, Explanation
from properties.findings.names.match import explanations
from properties.findings.names.probes import probed, probes
from properties.spec.clause import clauses

NOT_A_FORMULA = frozenset({"error", "state", "transform"})
"""Areas whose laws a module may break whatever its formula is."""
NO_FORMULA_TELLS = frozenset({"shape/parameter-shapes-and-count"})
"""Clauses that a stand-in cannot break: it has no parameters of its own that could be missing."""
PUT_BACK = frozenset({"own cap", "own norms", "own sink", "own slopes", "own window"})
"""What a clause needs that puts something back beside attention: its wrong forms are the probes'."""
DRAWN = ("numerics/deterministic-in-eval", "state/forward-is-pure")


def behaves_like(clause: str, case: Case) -> list[str]:
    """What the subject behaves like, as far as that explains why it fails a clause on a case.

    Where that is unknown, a formula is told if the output of this very case is wrong, and so it.
    """
    if clause not in clauses():
        return []
    if put_back(clause):
        return list(probed(clause, case))
    if calls.concerns(clause, case):
        return calls.named(clause, case)
    if clause in masks.WAYS:
        return masks.named(clause, case)
    if clause == layers.CLAUSE:
        return layers.named(case)
    if clause in contexts.LOOK:
        return contexts.named(clause, case.subject)
    if clause.partition("/")[0] == caches.AREA:
        return caches.named(clause, case)
    told = [str(h) for h in habits(case) if breaks(h, clause, case)] if chance(clause) else []
    if "dropout" not in clause and clause.partition("/")[0] not in NOT_A_FORMULA:
        for explanation in explanations(clause, case):
            answer = breaks(explanation, clause, case)
            if answer or (answer is None and not Example(case).right):
                told.append(str(explanation))
    told += probed(clause, case)
    return list(dict.fromkeys(told))


def explains(name: str, clause: str, case: Case) -> bool | None:
    """Whether what the subject behaves like breaks this clause on this very case; None: unknown.

    What a probe has found breaks the clauses that it lists; what else it breaks, nobody has computed.
    """
    if put_back(clause):
        return True if name in probed(clause, case) else None
    if calls.concerns(clause, case):
        return calls.explains(name, clause, case)
    if clause in masks.WAYS:
        return name in masks.named(clause, case)
    if clause == layers.CLAUSE:
        return name in layers.named(case)
    if clause in contexts.LOOK:
        return name in contexts.named(clause, case.subject)
    if clause.partition("/")[0] == caches.AREA:
        return caches.explains(name, clause, case)
    if name in map(str, probes()):
        return True if name in probed(clause, case) else None
    found = (*explanations(clause, case), *habits(case))
    answers = [breaks(e, clause, case) for e in found if str(e) == name]
    if not answers or None in answers or clause in NO_FORMULA_TELLS:
        return None
    return True in answers


def breaks(explanation: Explanation, clause: str, case: Case) -> bool | None:
    """Whether a stand-in breaks a clause that one for attention as it should be does not break."""
    if not case.known or passes(RIGHT, clause, case) is not True:
        return None
    passed = passes(explanation, clause, case)
    return None if passed is None else not passed


def put_back(clause: str) -> bool:
    """Whether a clause asks about what is out of action in all other examples."""
    return not PUT_BACK.isdisjoint(clauses()[clause].needs)


def chance(clause: str) -> bool:
    """Whether a clause may be broken by what is drawn."""
    return "dropout" in clause or clause in DRAWN
