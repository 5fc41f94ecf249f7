"""Gradients of functions that are wrong where every answer is right.

Legend: B batch, H query heads, G key-value heads, T queries, S keys, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.cases.call_gradients import Slopes, slopes
from properties.cases.question import Question
from properties.findings.names.calls.catalogue import form
from properties.findings.names.calls.form import Asks, RefusedError
from properties.subjects.call import Seen
from properties.truth.attend import over_groups, repeated
from properties.truth.bounds import gamma

TOLD = "what the backward pass is told besides queries, keys and values"
SUMS = "what the backward pass sums over, and where it writes"
FACTOR = "the scale in the backward pass"
CHAIN = "the derivative of the cap, by which that of the scores is multiplied"
NOTHING = "what repairs a row that sees nothing: in the forward pass alone it sends NaN back"
KEYS = ("keys", "values")
INPUTS = ("queries", *KEYS)
Factors = Callable[[Question], Mapping[str, Array | float]]


def of_another(called: str, role: str, change: Asks, names: tuple[str, ...] = INPUTS) -> None:
    """Enter gradients of which those by these names answer another question."""

    def derive(asked: Question, upstream: Array, right: Slopes) -> Slopes:
        other = slopes(change(of_function(asked)), upstream)
        return replaced(
            right, *({n: part[n] for n in names} for part in (other.right, other.allowed))
        )

    form(called, TOLD, role, slopes=derive)


def scaled(called: str, look: str, *roles: str, by: Factors) -> None:
    """Enter gradients that are multiplied by factors, by name."""

    def derive(asked: Question, upstream: Array, right: Slopes) -> Slopes:
        rounding = gamma(4, FORMATS[asked.case.dtype])
        found, allowed = {}, {}
        for name, factor in by(of_function(asked)).items():
            if name in right.right:
                found[name] = right.right[name] * factor
                allowed[name] = np.abs(factor) * right.allowed[name] + rounding * np.abs(
                    found[name]
                )
        return replaced(right, found, allowed)

    form(called, look, *roles, slopes=derive)


def of_function(asked: Question) -> Question:
    """The question, of queries, keys and values. RefusedError for one of a module's x."""
    if not asked.function:
        raise RefusedError("a call of a module")
    return asked


def replaced(right: Slopes, found: Mapping[str, Array], allowed: Mapping[str, Array]) -> Slopes:
    """Gradients with some others in their place."""
    return Slopes({**right.right, **found}, {**right.allowed, **allowed})


def wider(asked: Question) -> Question:
    """One key more of the past."""
    left, right = asked.arguments.window or (-1, -1)
    return asked.changed(window=(left + 1 if left >= 0 else left, right))


def unmasked(asked: Question) -> Question:
    """Nothing is hidden but by flags."""
    return asked.changed(mask=None)


def without_window(asked: Question) -> Question:
    """Nothing is hidden but by masks and flags."""
    return asked.changed(window=None)


of_another("backward pass without the mask", "mask", unmasked)
of_another("values get a gradient where the mask hides", "mask", unmasked, ("values",))
of_another("backward pass without the window", "window", without_window)
of_another("window one wider in the backward pass", "window", wider)


def own_scale(asked: Question) -> float:
    """The scale that was given."""
    return asked.request.factor(asked.inputs["queries"].shape[-1])


def by_default(asked: Question) -> dict[str, Array | float]:
    """The scale that was given for that of head_dim."""
    factor = asked.inputs["queries"].shape[-1] ** -0.5 / own_scale(asked)
    return {"queries": factor, "keys": factor}


def of_first_keys(asked: Question) -> dict[str, Array | float]:
    """As many keys as there are queries."""
    first = np.arange(asked.shape[3])[:, None] < asked.shape[2]
    return dict.fromkeys(KEYS, first.astype(np.float64))


def of_one_head(asked: Question) -> dict[str, Array | float]:
    """A mean over the heads that read one."""
    return dict.fromkeys(KEYS, asked.inputs["keys"].shape[1] / asked.shape[1])


scaled("default scale in the backward pass", FACTOR, "scale", by=by_default)
for _name in ("queries", "keys"):
    scaled(
        f"scale applied twice to the gradient of the {_name}",
        FACTOR,
        "scale",
        by=lambda asked, name=_name: {name: own_scale(asked)},  # type: ignore[misc]
    )
scaled("bias gets no gradient", "a bias that is detached", "bias", by=lambda asked: {"bias": 0.0})
scaled(
    "gradient of the bias multiplied by the scale",
    FACTOR,
    "bias",
    by=lambda asked: {"bias": own_scale(asked)},
)
scaled("keys beyond the number of queries get no gradient", SUMS, by=of_first_keys)
scaled(
    "gradient of the values multiplied by queries over keys",
    SUMS,
    by=lambda asked: {"values": asked.shape[2] / asked.shape[3]},
)
scaled("gradient of a group averaged", SUMS, by=of_one_head)


def alone(called: str, head: int) -> None:
    """Enter gradients of keys and values that one head of each group sends back."""

    def derive(asked: Question, upstream: Array, right: Slopes) -> Slopes:
        heads, groups = asked.shape[1], of_function(asked).inputs["keys"].shape[1]
        number = np.arange(heads) % (heads // groups)
        chosen = (number == head % (heads // groups))[:, None, None]
        one = slopes(asked, np.where(chosen, upstream, 0.0))
        return replaced(right, *({n: part[n] for n in KEYS} for part in (one.right, one.allowed)))

    form(called, SUMS, slopes=derive)


alone("gradient of the first head of a group alone", 0)
alone("gradient of the last head of a group alone", -1)


def other_slope(called: str, slope: Callable[[Array], Array]) -> None:
    """Enter another derivative of the cap: a function of tanh(z / c)."""

    def derive(asked: Question, upstream: Array, right: Slopes) -> Slopes:
        queries, keys = (of_function(asked).inputs[name] for name in ("queries", "keys"))
        heads, groups, scale = asked.shape[1], keys.shape[1], own_scale(asked)
        spread = repeated(keys, heads)
        cap, own = asked.request.cap, slopes(asked, upstream)
        if cap is None:
            return right
        through = scale * slope(np.tanh(queries @ spread.swapaxes(-1, -2) * scale / cap))
        rounding = gamma(asked.shape[3] + queries.shape[-1] + 32, FORMATS[asked.case.dtype])
        back = own.right["bias"] * through
        off = own.allowed["bias"] * np.abs(through) + rounding * np.abs(back)
        by_keys = over_groups(back.swapaxes(-1, -2) @ queries, groups)
        off_by_keys = over_groups(off.swapaxes(-1, -2) @ np.abs(queries), groups)
        return replaced(
            right,
            {"queries": back @ spread, "keys": by_keys},
            {"queries": off @ np.abs(spread), "keys": off_by_keys},
        )

    form(called, CHAIN, "cap", slopes=derive)


other_slope("cap without its derivative in the backward pass", np.ones_like)
other_slope("derivative of the cap is 1 - |tanh|, not squared", lambda t: 1.0 - np.abs(t))


def spoilt(asked: Question, upstream: Array, right: Slopes) -> Slopes:
    """NaN in a query that sees nothing, and in all keys of its head."""
    keys = of_function(asked).inputs["keys"]
    seen: Seen = asked.request.seen(asked.shape)
    empty = ~np.any(seen, axis=-1, keepdims=True)  # (B, H, T, 1)
    heads = np.asarray(np.any(empty, axis=2, keepdims=True), dtype=np.float64)
    spread = over_groups(heads, keys.shape[1]) > 0.0
    found = {
        "queries": np.where(empty, np.nan, right.right["queries"]),
        "keys": np.where(spread, np.nan, right.right["keys"]),
    }
    return replaced(right, found, {})


form("NaN gradient of a row that sees nothing", NOTHING, "mask", slopes=spoilt)
