"""score/: what a call says of the scores is done to them: a scale, a cap, slopes.

One order of steps: scale, cap, bias, what is seen, softmax.
"""

from __future__ import annotations

import numpy as np

from properties.cases.agreement import same_output
from properties.cases.case import Case
from properties.cases.question import Question, flags, question, taken
from properties.spec.clause import Condition, Level, clause

SCALE = "score/given-scale-is-used-once"
CAP = "score/cap-is-the-formula"
FURTHER = Condition("at least two keys", lambda case: case.call is not None and case.call.keys > 1)


@clause(
    SCALE,
    Level.MUST,
    "A scale that is handed in multiplies the scores, once, in place of 1 / sqrt(head_dim).",
    needs={"takes scale"},
    counts=FURTHER,
)
def given_scale(case: Case) -> float:
    """z_ij = scale * q_i . k_j. One that is ignored, used twice or on top of 1 / sqrt(D) shows."""
    return question(case, "scale").agrees()


@clause(
    "score/zero-is-a-scale",
    Level.SHOULD,
    "A scale of zero is a scale: every key that is seen has the same weight.",
    needs={"takes scale"},
    counts=FURTHER,
    after=(SCALE,),
)
def zero_is_a_scale(case: Case) -> float:
    """`scale or default` takes zero for none."""
    return question(case).changed(scale=0.0).agrees()


@clause(
    "score/default-scale",
    Level.MUST,
    "Without a scale the scores are divided by sqrt(head_dim).",
    needs={"takes scale"},
    counts=FURTHER,
)
def default_scale(case: Case) -> float:
    """The same output as with the scale 1 / sqrt(D) handed in."""
    without = question(case)
    handed = without.changed(scale=float(case.sizes.head_dim**-0.5))
    return same_output("without a scale to be as with 1 / sqrt(head_dim),", without, handed)


@clause(
    "score/scale-leaves-the-bias",
    Level.MUST,
    "A scale multiplies the scores alone, not the bias that is added to them.",
    needs={"takes scale", "takes bias"},
    counts=FURTHER,
    after=(SCALE, "mask/bias-is-added-to-the-scores"),
)
def scale_leaves_the_bias(case: Case) -> float:
    """z_ij = scale * q_i . k_j + bias_ij, both handed in."""
    return question(case, "scale", "bias").agrees()


@clause(
    CAP,
    Level.MUST,
    "A cap c bounds the scaled scores: c tanh(z / c).",
    needs={"takes cap"},
    counts=FURTHER,
)
def cap_is_the_formula(case: Case) -> float:
    """After the scale. Gemma 2 and flash attention have it so."""
    return question(case, "cap").agrees()


@clause(
    "score/cap-comes-before-hiding",
    Level.MUST,
    "The cap is taken before anything is hidden: a hidden key has no weight, however small the cap.",
    needs={"takes cap", "hides by calls"},
    counts=FURTHER,
    after=(CAP,),
)
def cap_before_hiding(case: Case) -> float:
    """A cap of one half, with everything that can hide. Taken after the mask, tanh makes minus infinity
    into -c, and the hidden key comes back with exp(-2 c) of the weight of a shown one.
    """
    hiding = taken(case, "causal", "mask", "window")
    return max(question(case, "cap", role).changed(cap=0.5).agrees() for role in hiding)


@clause(
    "score/wide-cap-is-none",
    Level.MUST,
    "A cap far above all scores changes nothing.",
    needs={"takes cap"},
    after=(CAP,),
)
def wide_cap(case: Case) -> float:
    """C tanh(z / c) is z (1 - z^2 / 3 c^2): with c = 2^20 no format tells them apart at these scores."""
    return question(case).changed(cap=2.0**20).agrees()


@clause(
    "score/slopes-grow-with-distance",
    Level.MUST,
    "Slopes (ALiBi) take slope times distance from each score, head by head.",
    needs={"takes slopes"},
    counts=FURTHER,
)
def slopes(case: Case) -> float:
    """z_ij - m_h |i + offset - j|, where the offset lines the last query up with the last key, as the
    causal flag does (Press, Smith and Lewis, 2022; flash attention).
    """
    asked = [question(case, "slopes")]
    if case.subject.has("slopes of items"):
        asked.append(of_each_item(asked[0]))
    return max(one.changed(causal=flag).agrees() for one in asked for flag in flags(case))


def of_each_item(asked: Question) -> Question:
    """The same with slopes (B, H): those of an item are twice those of the item before."""
    slopes = asked.arguments.slopes
    assert slopes is not None  # they were asked for
    return asked.changed(slopes=2.0 ** np.arange(asked.shape[0])[:, None] * slopes / 8.0)
