"""A vector as lines of JSON: what is asked, what is right with its bounds, what each fault would give.

Numbers of what is asked are integers times a power of two. What is right is written so that float64 reads
it back exactly; bounds are rounded up to three digits; what a fault gives has nine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.truth.request import Seen
from properties.vectors.call import Parts
from properties.vectors.exact import Exact
from properties.vectors.notes import flag_of
from properties.vectors.right import Right
from properties.vectors.selection import CLEAR, Fault
from properties.vectors.slopes import WrongSlopes, bounds_of_slopes, right_slopes
from properties.vectors.vector import Options, Turn, Vector

Json = Any
MANY = 512  # numbers, beyond which those are listed that are not the most common one
NUDGE = 1e-9  # so that no machine's last bit decides how a number is rounded
OF_GRADIENTS = {"queries": "dq", "keys": "dk", "values": "dv"}


def test(vector: Vector, faults: Iterable[Fault | WrongSlopes]) -> dict[str, Json]:
    """One entry of "tests"."""
    about = {"tcId": vector.number, "comment": vector.comment, "needs": needs(vector)}
    asked: dict[str, Json] = {"result": "invalid" if vector.refused else "valid"}
    if vector.refused:
        asked["why"] = vector.refused
    asked |= inputs(vector) | {"options": options(vector)}
    if vector.refused:
        return about | asked
    if vector.upstream is not None:
        asked["do"] = exact(vector.upstream)
        expected = gradients(vector)
    else:
        expected = outputs(vector, vector.right)
    return about | asked | {"expected": expected, "faults": [fault(vector, f) for f in faults]}


def needs(vector: Vector) -> list[str]:
    """What an attention has to take beside q, k and v."""
    told = vars(vector.options).items()
    extra = (
        {"groups"} if vector.queries.integers.shape[1] != vector.keys.integers.shape[1] else set()
    )
    return sorted({NAMES.get(name, name) for name, value in told if value is not None} | extra)


NAMES = {"starts": "cu_seqlens", "kept": "dropout", "cap": "softcap", "slopes": "alibi"}
"""The field's own words for options."""


def inputs(vector: Vector) -> dict[str, Json]:
    """Queries, keys and values, those of a past apart."""
    found = {"q": exact(vector.queries)}
    past = vector.options.past or 0
    keys = vector.keys.integers.shape[2]
    for name, part in (("k", vector.keys), ("v", vector.values)):
        if past:
            found[f"past_{name}"] = exact(part.part(0, past))
        found[name] = exact(part.part(past, keys) if past else part)
    return found


def options(vector: Vector) -> dict[str, Json]:
    """What is told besides, by the field's words."""
    found: dict[str, Json] = {}
    for field in fields(Options):
        value = getattr(vector.options, field.name)
        if value is None or field.name == "past":
            continue
        if field.name == "starts":
            found["cu_seqlens_q"], found["cu_seqlens_k"] = map(list, value)
        elif field.name == "kept":
            found["dropout_keep"] = bits(value)
        elif field.name == "dropout":
            found["dropout_p"] = value
        else:
            found[NAMES.get(field.name, field.name)] = option(value)
    return found


def option(value: object) -> Json:
    """One option."""
    if isinstance(value, Exact):
        return exact(value)
    if isinstance(value, Turn):
        return {
            "pairing": value.pairing,
            "base": value.base,
            "rotated": value.portion,
            "positions_q": list(value.queries),
            "positions_k": list(value.keys),
        }
    if isinstance(value, np.ndarray):
        return bits(value)
    return list(value) if isinstance(value, tuple) else value


def exact(part: Exact) -> Json:
    """Integers and what they are multiplied by."""
    numbers: list[Json] = part.integers.ravel().tolist()
    if part.hidden is not None:
        hidden = np.broadcast_to(part.hidden, part.integers.shape).ravel()
        numbers = ["-inf" if h else n for n, h in zip(numbers, hidden, strict=True)]
    return {"shape": list(part.integers.shape), "times": part.times} | listed(numbers)


def bits(part: Array) -> Json:
    """Ones and zeros."""
    return {"shape": list(part.shape), "times": 1} | listed(part.astype(int).ravel().tolist())


def listed(numbers: list[Json]) -> dict[str, Json]:
    """All numbers; of many, the most common one and where there are others."""
    if len(numbers) <= MANY:
        return {"data": numbers}
    rest = max(set(numbers), key=lambda number: (numbers.count(number), number))
    return {"fill": rest, "at": [[i, n] for i, n in enumerate(numbers) if n != rest]}


def outputs(vector: Vector, right: Right) -> dict[str, Json]:
    """Output, LSE and, where they are wanted, weights."""
    return {
        name: {
            "shape": list(getattr(right.parts, name).shape),
            "data": [written(x) for x in getattr(right.parts, name).ravel().tolist()],
            "bounds": {dtype: bounds(right.bounds[dtype][name]) for dtype in FORMATS},
        }
        for name in vector.returned
    }


def gradients(vector: Vector) -> dict[str, Json]:
    """Gradients of queries, keys and values."""
    right = right_slopes(vector)
    allowed = {dtype: bounds_of_slopes(vector, dtype) for dtype in FORMATS}
    return {
        OF_GRADIENTS[name]: {
            "shape": list(part.shape),
            "data": [written(x) for x in part.ravel().tolist()],
            "bounds": {dtype: bounds(allowed[dtype][name]) for dtype in FORMATS},
        }
        for name, part in right.items()
    }


def written(number: float) -> Json:
    """A number that float64 reads back; a word where JSON has none."""
    return number if math.isfinite(number) else str(number)


def bounds(allowed: Array) -> list[Json] | None:
    """Rounded up; None where nothing is claimed in this format."""
    if not np.isfinite(allowed).all():
        return None
    return [upward(x) for x in allowed.ravel().tolist()]


def upward(number: float) -> float:
    """The next number of three digits above."""
    if number == 0.0:
        return 0.0
    exponent = math.floor(math.log10(number)) - 2
    if exponent < -300:
        return 1e-300
    digits = math.ceil(number * (1.0 + NUDGE) / 10.0**exponent)
    return float(f"{digits}e{exponent}")


def fault(vector: Vector, one: Fault | WrongSlopes) -> dict[str, Json]:
    """What a fault gives, of each part that it changes; null for a number that could be any."""
    seen = [name for name, bounds in one.apart.items() if bounds >= CLEAR]
    found: dict[str, Json] = {"flag": flag_of(one.flag), "clear_in": seen}
    if isinstance(one, WrongSlopes):
        return found | {OF_GRADIENTS[n]: nine(p) for n, p in one.slopes.items()}
    return found | changed(vector, one.parts, vector.call.parts)


def changed(vector: Vector, parts: Parts, right: Parts) -> dict[str, Json]:
    """The parts that are not as they should be."""
    found = {}
    for name in vector.returned:
        wrong, own = getattr(parts, name), getattr(right, name)
        if name == "output" or not np.allclose(wrong, own, rtol=1e-9, atol=1e-12, equal_nan=True):
            found[name] = nine(wrong, parts.nothing if name == "lse" else parts.nothing[..., None])
    return found


def nine(part: Array, nothing: Seen | bool = False) -> list[Json]:
    """Nine digits of each number; None where nothing is said."""
    hidden = np.broadcast_to(nothing, part.shape).ravel().tolist()
    numbers = part.ravel().tolist()
    return [None if h else short(x) for x, h in zip(numbers, hidden, strict=True)]


def short(number: float) -> Json:
    """Nine digits, or a word."""
    if not math.isfinite(number):
        return str(number)
    rounded = float(f"{number * (1.0 + 1e-12):.9g}")
    return 0.0 if abs(rounded) < 1e-300 else rounded


def text(head: Mapping[str, Json], tests: Iterable[Mapping[str, Json]]) -> str:
    """A file: a line for each of its fields, and for each field of a test."""
    lines = [f'"{name}": {dumped(value)}' for name, value in head.items()]
    entries = ",\n".join(entry(one) for one in tests)
    return "{\n" + ",\n".join(lines) + ',\n"tests": [\n' + entries + "\n]\n}\n"


def entry(one: Mapping[str, Json]) -> str:
    """One test; a line for each fault."""
    lines = []
    for name, value in one.items():
        if name in ("faults", "expected") and value:
            items = value if name == "faults" else value.items()
            inner = ",\n  ".join(
                dumped(x) if name == "faults" else f'"{x[0]}": {dumped(x[1])}' for x in items
            )
            left, right = ("[", "]") if name == "faults" else ("{", "}")
            lines.append(f'"{name}": {left}\n  {inner}{right}')
        else:
            lines.append(f'"{name}": {dumped(value)}')
    return "{" + ",\n ".join(lines) + "}"


def dumped(value: Json) -> str:
    """JSON on one line."""
    return json.dumps(value, allow_nan=False, separators=(", ", ": "))
