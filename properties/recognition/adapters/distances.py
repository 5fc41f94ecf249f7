"""Whether a module takes from its scores a number for each token further back, as ALiBi does.

The definition has no such number. Where it is kept in a tensor that is called like it, or holds what was
published, that is zero (see `extras`); where it is computed in forward, nothing can be asked.

Legend: T tokens, H heads.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from properties.basics.dtypes import Array
from properties.recognition.adapters import messages, trials
from properties.recognition.turning import looks
from properties.recognition.turning.measured import HEADS, Build, carrying
from properties.truth.parameters import Sizes, Weights

if TYPE_CHECKING:
    from properties.recognition.adapters.module_subject import ModuleSubject

TOKENS = 6
WIDTH = HEADS * TOKENS
SIZES = Sizes(batch=1, tokens=TOKENS, d_in=WIDTH, heads=HEADS, head_dim=TOKENS, context_length=32)
NEAR = 1e-4
LEAST = 1e-3  # for each token: what is less may be rounding
SPOKEN = re.compile(r"alibi|get_\w*slopes", re.IGNORECASE)


def require_none(finished: ModuleSubject, module: nn.Module) -> None:
    """QuestionError where a module speaks of ALiBi and computes what it takes from the scores."""
    if not (finished.has("projections") and looks.says(SPOKEN, module)):
        return
    found = slopes(finished.build, finished.dtypes[0])
    if found is None:
        return
    name, target = finished.blueprint.owner, finished.blueprint.target
    taken = ", ".join(f"{number:.6g} in head {head}" for head, number in enumerate(found))
    raise messages.refusal(
        f"{name} takes from its scores, for each token further back, {taken} of {HEADS} (ALiBi), and no "
        "tensor that it keeps is known to hold that.",
        "scores of queries and keys alone, or a buffer called slopes or alibi, or of those published, "
        "which is made zero here",
        "keep the slopes in a buffer, self.register_buffer('slopes', ...), or leave them out for the "
        "check, in a factory:",
        messages.factory(name, target, finished.blueprint.arguments.settings),
    )


def slopes(build: Build, dtype: str) -> Array | None:
    """What each head takes from a score for each token that a key is further back, (H,), all above zero;
    None where that is not all that the weights of equal scores show.

    build: as `Subject.build`.
    """
    weights = shown(build, dtype)
    if weights is None or np.abs(weights.sum(axis=-1) - 1.0).max() > NEAR:
        return None
    places = np.arange(TOKENS)
    back = places[:, None] - places
    past = back >= 0
    if not bool((weights[:, past] > 0.0).all()):
        return None
    own = np.diagonal(weights, axis1=1, axis2=2)[:, :, None]
    taken = np.log(own / np.where(past, weights, own))
    found: Array = taken[:, 1, 0]
    expected = np.where(past, found[:, None, None] * back, 0.0)
    fits = bool(np.allclose(taken, expected, atol=NEAR, rtol=NEAR))
    return found if fits and bool((found > LEAST).all()) else None


def shown(build: Build, dtype: str) -> Array | None:
    """The weights of queries and keys that are zero, (H, T, T); None where no module shows them."""
    value = np.tile(np.eye(TOKENS), (1, HEADS))
    none = np.zeros((WIDTH, WIDTH))
    value = np.concatenate([value, np.zeros((WIDTH - TOKENS, WIDTH))])
    x = torch.eye(WIDTH, dtype=getattr(torch, dtype))[None, :TOKENS]
    module = carrying(Weights(none, none, value, out=np.eye(WIDTH)), SIZES, build, dtype)
    if module is None:
        return None
    output = trials.run(module, x).output
    if output is None or output.shape != x.shape:
        return None
    weights: Array = output[0].double().numpy().reshape(TOKENS, HEADS, TOKENS).swapaxes(0, 1)
    return weights if bool(np.isfinite(weights).all()) else None
