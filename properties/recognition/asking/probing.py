"""Which conventions a subject keeps: small questions, of which each known answer gives another number.

Queries and keys are zero, so that every key that is seen has the same weight, and the value of key j
is 2**j: a row is the mean of some powers of two, and tells which keys it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from properties.basics import interrupts
from properties.subjects.call import Answer, Arguments, Inputs

Ask = Callable[[Inputs, Arguments], Answer]
NEAR = 0.003
"""Relative: more than bfloat16 rounds, and less than means of two sets of up to five keys differ by."""


def asked(ask: Ask, inputs: Inputs, arguments: Arguments) -> Answer | None:
    """The answer, or None where the call raises: it does not take that."""
    came = answer_or_error(ask, inputs, arguments)
    return None if isinstance(came, BaseException) else came


def refusal(ask: Ask, inputs: Inputs, arguments: Arguments) -> str:
    """What a call raises, type and text; "" where it returns."""
    came = answer_or_error(ask, inputs, arguments)
    return f"{type(came).__name__}: {came}" if isinstance(came, BaseException) else ""


def answer_or_error(ask: Ask, inputs: Inputs, arguments: Arguments) -> Answer | BaseException:
    """The answer, or what the call raises: a refusal is an answer, too."""
    try:
        with torch.random.fork_rng(devices=[]):  # a trial leaves the caller's random state alone
            return ask(inputs, arguments)
    except BaseException as error:
        interrupts.subjects_own(error)
        return error


def level(queries: int, keys: int, batch: int = 1, heads: int = 1, groups: int = 1) -> Inputs:
    """Scores of zero; the value of key j is 2**j."""
    values = np.broadcast_to(2.0 ** np.arange(keys)[:, None], (batch, groups, keys, 1))
    return {
        "queries": np.zeros((batch, heads, queries, 1)),
        "keys": np.zeros((batch, groups, keys, 1)),
        "values": values.copy(),
    }


def seen(answer: Answer | None, keys: int) -> list[frozenset[int] | None]:
    """The keys that each query of the first head of the first item saw; None: no mean of some keys."""
    if answer is None:
        return []
    return [keys_of(float(number), keys) for number in answer.output[0, :, 0]]


def keys_of(mean: float, keys: int) -> frozenset[int] | None:
    """Which keys' values have this mean, but for the rounding of a short format."""
    for subset in range(1, 2**keys):
        members = [j for j in range(keys) if subset >> j & 1]
        if near(mean, sum(2.0**j for j in members) / len(members)):
            return frozenset(members)
    return None


def masked(
    ask: Ask, role: str, rows: NDArray[Any], inputs: Callable[[int, int], Inputs] = level
) -> Answer | None:
    """The answer to a call of two queries with these rows of a mask, (2, S); where that is refused, of
    eight, the last row repeated. None where that is, too.
    """
    for more in (0, 6):
        told = np.concatenate([rows, np.repeat(rows[1:], more, axis=0)])
        argument: dict[str, Any] = {role: told[None, None]}
        answer = asked(ask, inputs(*told.shape), Arguments(**argument))
        if answer is not None:
            return answer
    return None


def polarity(ask: Ask, role: str) -> str:
    """What True means in a mask or a padding mask of the keys 0, 1 and 3 among four; "" if neither."""
    told = np.array([True, True, False, True])
    if role == "padding":
        answer = asked(ask, level(2, 4), Arguments(padding=told[None]))
    else:
        answer = masked(ask, role, np.stack([told, told]))
    rows = seen(answer, 4)
    if rows and all(row == frozenset({0, 1, 3}) for row in rows):
        return "attend"
    return "hide" if rows and all(row == frozenset({2}) for row in rows) else ""


def near(number: float, right: float) -> bool:
    """Whether a number is this one, but for rounding."""
    return abs(number - right) < NEAR * right


def adds(ask: Ask) -> bool:
    """Whether numbers given as a mask are added to the scores: log 3 on one of two keys gives it 3/4."""
    answer = masked(ask, "bias", np.log([[1.0, 3.0], [1.0, 3.0]]))
    return answer is not None and bool(np.allclose(answer.output, 1.75, rtol=NEAR))


def divides(ask: Ask) -> bool:
    """Whether a given scale divides the scores: of two keys of 4 columns the second has the product 1, and
    the odds e to the power of one half by a scale of 2, and of two by one of a half.
    """
    inputs = {name: np.zeros((1, 1, 2, 4)) for name in ("queries", "keys", "values")}
    inputs["queries"][..., 0] = inputs["keys"][..., 1, 0] = inputs["values"][..., 1, 0] = 1.0
    for scale in (2.0, 0.5):
        answer = asked(ask, inputs, Arguments(scale=scale))
        right = 1.0 / (1.0 + np.exp(-1.0 / scale))
        if answer is None or not near(float(answer.output[0, -1, 0]), right):
            return False
    return True


BY_CAUSALITY = {"top left": ("0|01",), "bottom right": ("012|0123",)}
IN_A_WINDOW = {
    "top left": ("0|01", "012|0123", "01|012"),
    "bottom right": ("012|123", "12|23", "0123|123", "123|23"),
}
"""Which of four keys each of two queries may see, by where the diagonal lies; a window of 2 is of others or
counts oneself, of the past or on both sides."""


def alignment(ask: Ask, role: str) -> str:
    """Where the diagonal lies for two queries and four keys, by the causal flag, a window or slopes, or by
    itself ("" for the role); "" if at neither end.
    """
    if role == "slopes":
        return alignment_of_slopes(ask)
    told = {"causal": Arguments(causal=True), "window": Arguments(window=(2, 0))}
    rows = seen(asked(ask, level(2, 4), told.get(role, Arguments())), 4)
    found = "|".join("".join(map(str, sorted(row or ()))) for row in rows)
    known = IN_A_WINDOW if role == "window" else BY_CAUSALITY
    return next((corner for corner, shown in known.items() if found in shown), "")


def hides(ask: Ask, masked: bool = False) -> bool:
    """Whether four queries of four keys see no key behind them; masked: beside a mask that shows all."""
    mask = np.ones((1, 1, 4, 4), np.bool_) if masked else None
    rows = seen(asked(ask, level(4, 4), Arguments(mask=mask)), 4)
    return rows == [frozenset(range(place + 1)) for place in range(4)]


def alignment_of_slopes(ask: Ask) -> str:
    """The same of one query and two keys, where each step away halves a weight."""
    answer = asked(ask, level(1, 2), Arguments(slopes=np.log([2.0])))
    if answer is None:
        return ""
    number = float(answer.output[0, 0, 0])
    known = {"top left": 4.0 / 3.0, "bottom right": 5.0 / 3.0}
    return next((name for name, right in known.items() if near(number, right)), "")


def counting(ask: Ask, causal: bool) -> str:
    """Whether a window of 2 is two others or oneself and one other; "" if neither."""
    rows = seen(asked(ask, level(5, 5), Arguments(window=(2, 0), causal=causal)), 5)
    if len(rows) == 5 and rows[4] == frozenset({2, 3, 4}):
        return "others"
    return "counting oneself" if len(rows) == 5 and rows[4] == frozenset({3, 4}) else ""


def sides(ask: Ask) -> str:
    """Whether a window of one width shows what comes after the query, too."""
    rows = seen(asked(ask, level(5, 5), Arguments(window=(2, 0))), 5)
    return "both" if len(rows) == 5 and max(rows[2] or {0}) > 2 else "one"


def uneven(queries: int, keys: int) -> Inputs:
    """Scores that grow by 16 from key to key, with the values of `level`: a number that is added to them is
    so large in some format that they round differently.
    """
    grown = 16.0 * np.arange(float(keys)).reshape(1, 1, keys, 1)
    return {**level(queries, keys), "queries": np.ones((1, 1, queries, 1)), "keys": grown}


def empty_row(ask: Ask, *further: Ask) -> str:
    """What a query gives that sees nothing, the other seeing all; "" if nothing known. further: the same
    calls in other formats, of which one may show that scores still count.
    """
    rows = np.array([[False] * 4, [True] * 4])
    answer = masked(ask, "mask", rows)
    known = "" if answer is None else of_nothing(float(answer.output[0, 0, 0]))
    others = (masked(one, "mask", rows, uneven) for one in (ask, *further))
    return by_uneven(known, (float(o.output[0, 0, 0]) for o in others if o is not None))


def by_uneven(known: str, numbers: Iterable[float]) -> str:
    """The answer that is known by even scores, or "mixture" where these, by uneven ones, say so; they are
    asked for only then.
    """
    return "mixture" if known == "uniform" and any(map(is_mixture, numbers)) else known


def is_mixture(number: float) -> bool:
    """Whether a number is between the values of four keys, and is not their mean."""
    return 1.0 <= number <= 8.0 and of_nothing(number) != "uniform"


def of_nothing(number: float) -> str:
    """Which answer a row that sees none of four keys gives by this number; "" for none known."""
    known = {
        "zeros": number == 0.0,
        "nan": bool(np.isnan(number)),
        "uniform": near(number, 3.75),
    }
    return next((name for name, holds in known.items() if holds), "")


def returned_weights(ask: Ask) -> str:
    """Whether weights of two heads come one each or averaged; "" if none come."""
    answer = asked(ask, level(3, 4, heads=2, groups=2), Arguments(weights=True))
    if answer is None or answer.weights is None:
        return ""
    return "per head" if answer.weights.ndim == 4 else "averaged"


def logarithm_axes(ask: Ask) -> str:
    """Whether heads or queries come first in what is returned for two heads and three queries."""
    answer = asked(ask, level(3, 4, heads=2, groups=2), Arguments(lse=True))
    if answer is None or answer.lse is None:
        return ""
    return "B H T" if answer.lse.shape == (1, 2, 3) else "B T H"


def logarithm(ask: Ask) -> str:
    """The base of the logarithm of a sum of four ones; "" if neither."""
    answer = asked(ask, level(3, 4), Arguments(lse=True))
    if answer is None or answer.lse is None:
        return ""
    number = float(answer.lse.flat[0])
    known = {"natural": np.log(4.0), "base 2": 2.0}
    return next((base for base, right in known.items() if near(number, right)), "")
