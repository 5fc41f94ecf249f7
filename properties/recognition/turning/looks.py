"""Whether a module looks as if positions turned its queries and keys, and what its tables say.

Legend: D head_dim, R the columns that are turned.
"""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from properties.recognition.turning.handed import BASE, hook_of
from properties.truth.positions import Pairing

NAMES = re.compile(r"rope|rotary|inv_?freq|freqs|angles?$|(^|_)(cos|sin)($|_)|theta|^base$|_cis$")
CODE = re.compile(r"\b(cos|sin|polar|view_as_complex|rotate_half|apply_rotary\w*)\b|rotary|\brope")
CALLED = re.compile(r"\b([A-Za-z_]\w*)\(")
BASES = re.compile(r"(rope|rotary|rot|freq)?_?(base|theta)(_?freq)?")
FACTORS = re.compile(
    r"((rope|rotary|scal(e|ing))_?)*factor|(rope|rotary)_?scal(e|ing)|scaling|ntk_?alpha"
)
GAINS = re.compile(r"(att(n|ention)_?)?(m_?scale|factor|scaling)|(rope|rotary)_?mscale")
SWITCH = re.compile(r"(use|with|apply|enable)_?(rope|rotary)\w*|rope|rotary")


@dataclass(frozen=True)
class Look:
    """What is seen before any trial. intended: whether a table of angles is kept or handed in, so that
    a module which turns nothing is wrong; base, pairing, columns (R): what they say, None if nothing;
    factors, gains: numbers by which it may scale frequencies, and multiply cosines and sines.
    """

    intended: bool = False
    base: float | None = None
    pairing: Pairing | None = None
    columns: int | None = None
    factors: tuple[float, ...] = ()
    gains: tuple[float, ...] = ()


def speaks(module: nn.Module, given: Mapping[str, Any]) -> bool:
    """Whether a name, a line of code or what is handed speaks of rotations.

    given: the constructor's arguments, each with its default.
    """
    if hook_of(module) is not None:
        return True
    names = [*(name for name, _ in members(module)), *(name.lower() for name in given)]
    return any(map(NAMES.search, names)) or in_code(module)


def look(module: nn.Module, given: Mapping[str, Any]) -> Look:
    """What a module looks like that speaks of rotations."""
    held, handed = dict(members(module)), hook_of(module)
    numbers = {**held, **{name.lower(): value for name, value in given.items()}}
    factors, gains = stated({**of_classes(module), **numbers})
    base = next((b for name in numbers if (b := base_of(name, numbers[name]))), None)
    tables = [told for tensor in held.values() if (told := table(tensor, base or BASE))]
    named = (value for name, value in held.items() if NAMES.search(name))
    tables += [told for value in named if (told := scaled_table(value))]
    if handed is not None:
        pairing: Pairing | None = "neighbours" if handed.form.width == "each twice" else None
        columns = round(handed.head_dim * handed.form.portion)
        return Look(True, None, pairing, columns, factors, gains)
    off = any(SWITCH.fullmatch(name) and value in (False, None) for name, value in given.items())
    pairing, told_columns = tables[0] if tables else (None, None)
    return Look(bool(tables) and not off, base, pairing, told_columns, factors, gains)


def stated(numbers: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The factors of a scaling and the gains, by their names, those in dictionaries included; YaRN's
    gain follows from its factor f: 0.1 ln(f) + 1.
    """
    inside = [value for value in numbers.values() if isinstance(value, Mapping)]
    items = [pair for each in (numbers, *inside) for pair in each.items()]
    plain = [(str(n).lower(), float(v)) for n, v in items if type(v) in (int, float) and v > 0]
    factors = tuple(value for name, value in plain if FACTORS.fullmatch(name))
    gains = [value for name, value in plain if GAINS.fullmatch(name) and value != 1]
    gains += [0.1 * math.log(factor) + 1.0 for factor in factors if factor > 1]
    return factors, tuple(gains)


def members(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """What a module and its parts hold, by its last name; layers and private things left out."""
    for path, part in module.named_modules():
        yield path.rpartition(".")[2].lower(), type(part).__name__
        for name, value in [*part._buffers.items(), *vars(part).items()]:
            if not name.startswith("_") or isinstance(value, Tensor):
                yield name.lower(), value


def of_classes(module: nn.Module) -> dict[str, Any]:
    """What classes hold that are not torch's, by its name: constants of a scaling may stand there."""
    return {name.lower(): value for kind in own_kinds(module) for name, value in vars(kind).items()}


def base_of(name: str, value: Any) -> float | None:
    """A number that is called base or theta."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 1:
        return None
    return float(value) if BASES.fullmatch(name) else None


def in_code(module: nn.Module) -> bool:
    """Whether the code of the module speaks of rotations."""
    return says(CODE, module)


def says(words: re.Pattern[str], module: nn.Module) -> bool:
    """Whether the code of the module, of one of its parts, or of what these derive from has such words,
    where it is not torch's.
    """
    return any(spoken(words, kind) for kind in own_kinds(module))


def own_kinds(module: nn.Module) -> set[type]:
    """The classes of a module and its parts, and those they derive from, that are not torch's."""
    kinds = {kind for part in module.modules() for kind in type(part).__mro__}
    return {k for k in kinds if k.__module__.partition(".")[0] not in ("torch", "builtins")}


def spoken(words: re.Pattern[str], kind: type) -> bool:
    """Whether the name of a class does, its source, or that of a function of its file which it calls; what
    decorates it says nothing.
    """
    _, _, own = source(kind).partition(f"class {kind.__name__}")
    around = vars(sys.modules.get(kind.__module__, object))
    called = (around.get(name) for name in set(CALLED.findall(own)))
    beside = (f for f in called if inspect.isfunction(f) and f.__module__ == kind.__module__)
    return any(words.search(text) for text in (kind.__name__, own, *map(source, beside)))


def source(object: type | Callable[..., Any]) -> str:
    """What a class or function is written as, "" where it was built at run time."""
    try:
        return inspect.getsource(object)
    except (OSError, TypeError):
        return ""


def table(value: Any, base: float) -> tuple[Pairing | None, int] | None:
    """The pairing, if it tells, and R, that a tensor of speeds, angles, cosines or sines is made for."""
    if not isinstance(value, Tensor) or (value.is_complex() and value.ndim < 2):
        return None
    if value.is_complex():
        return table(value.real.contiguous(), base)
    array = value.detach().double().cpu().numpy()
    if array.ndim > 2 and array.shape[-1] == 2:  # a real and an imaginary part
        array = array[..., 0]
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[1] == 1:  # (T, 1, W), one for all heads
        array = array[:, 0]
    if array.ndim == 1:
        return speeds(array, base)
    return rows(array, base) if array.ndim == 2 and len(array) > 2 else None


def speeds(array: Any, base: float) -> tuple[Pairing | None, int] | None:
    """Of base**(-2 i / R), one for each pair."""
    count = len(array)
    if count > 1 and np.allclose(array, base ** -(np.arange(count) / count), rtol=1e-4):
        return None, 2 * count
    return None


def rows(array: Any, base: float) -> tuple[Pairing | None, int] | None:
    """Of angles, cosines or sines, one row for each position."""
    places, width = np.arange(len(array)), array.shape[1]
    wide: list[tuple[Pairing | None, int, Any]] = [(None, 2 * width, lambda a: a)]
    if width % 2 == 0:
        wide.append(("halves", width, lambda a: np.concatenate([a, a], axis=-1)))
        wide.append(("neighbours", width, lambda a: np.repeat(a, 2, axis=-1)))
    for pairing, columns, spread in wide:
        angle = spread(places[:, None] * base ** -(np.arange(columns // 2) / (columns // 2)))
        for made in (angle, np.cos(angle), np.sin(angle)):
            if np.allclose(array, made, atol=2e-2):
                return pairing, columns
    return None


def scaled_table(value: Any) -> tuple[Pairing | None, int] | None:
    """The pairing, if it tells, and R, of speeds or angles that follow no base: none faster than a radian
    for each position, and none faster than the one before.
    """
    if not isinstance(value, Tensor) or value.is_complex():
        return None
    array = value.detach().double().cpu().numpy()
    if array.ndim == 1:
        return (None, 2 * len(array)) if slowing_down(array) else None
    if array.ndim != 2 or len(array) < 3:
        return None
    first, width = array[1], array.shape[1]
    if not np.allclose(array, np.arange(len(array))[:, None] * first, rtol=1e-2, atol=1e-6):
        return None
    left, right = first[: width // 2], first[width // 2 :]
    if width % 2 == 0 and np.array_equal(left, right):
        return ("halves", width) if slowing_down(left) else None
    if not slowing_down(first):
        return None
    twice = width % 2 == 0 and np.array_equal(first[0::2], first[1::2])
    return ("neighbours", width) if twice else (None, 2 * width)


def slowing_down(speeds: Any) -> bool:
    """Whether these may be speeds of pairs."""
    falling = len(speeds) > 1 and speeds[0] > speeds[-1] and bool((np.diff(speeds) <= 0.0).all())
    return falling and 0.0 < speeds[0] <= 1.0 and bool(speeds[-1] >= 0.0)
