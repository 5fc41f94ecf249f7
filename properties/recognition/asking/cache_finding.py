"""How a forward goes on from earlier tokens: found by feeding it 3 tokens, then 1, then 1.

Legend: B batch, T tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import nn

from properties.basics import interrupts
from properties.basics.dtypes import FORMATS, Array
from properties.recognition.asking import holder_finding
from properties.recognition.asking.caches import CacheManner, State
from properties.recognition.asking.holders import Holder
from properties.subjects.instance import in_eval, to_array
from properties.truth.parameters import Sizes

FLAG = re.compile(r"(use|with|enable)_?(kv_?)?cach(e|ing)")
PAST = re.compile(
    r"(layer_|kv_|self_attn_)?(past|cache)s?(_kvs?|_states?|_key_?values?|_keys?_values?)?|kv_?cache"
)
POSITION = re.compile(
    r"(start|cache|input|cur|current|past|cached)_?(pos|position|positions|len|length|index)|"
    r"(pos|position|cache)?_?offset|start|pos"
)
RESETS = (
    "reset_cache",
    "clear_cache",
    "reset_kv_cache",
    "clear_kv_cache",
    "reset_kv",
    "clear_kv",
    "empty_cache",
    "reset",
    "clear",
)
HELD = re.compile(
    r"(kv|k|v|keys?|values?)_cache|cache_(kv|k|v|keys?|values?)|cached_(keys?|values?)"
)
A_LIST = Holder(list, {}, certain=False)  # which forward appends to
CHUNKS = (3, 1, 1)
TOKENS = sum(CHUNKS)
DEEP = 6  # layers of objects, lists and dicts in which a cache keeps tensors
Build = Callable[[str], nn.Module]
Telling = Callable[[int, int, str], Mapping[str, Any]]
"""What a step besides its tokens is told, of its first and its last token and its format."""


def nothing(start: int, end: int, dtype: str) -> Mapping[str, Any]:
    """Where no mask is."""
    return {}


def named(pattern: re.Pattern[str], names: Iterable[str]) -> list[str]:
    """The names that mean this, in lower case or not."""
    return [name for name in names if pattern.fullmatch(name.lower())]


def resets(module: nn.Module) -> list[str]:
    """The methods of the module's own class by which it may forget."""
    found = [name for name in RESETS if callable(getattr(type(module), name, None))]
    return [name for name in found if not hasattr(nn.Module, name)]


def exists(names: Iterable[str], module: nn.Module) -> bool:
    """Whether anything speaks of a cache."""
    names = list(names)
    return bool(signs(module)) or any(named(p, names) for p in (FLAG, PAST, POSITION))


def signs(module: nn.Module) -> list[str]:
    """What a module has, besides arguments, that only a cache of keys and values needs."""
    methods = [f"{name}()" for name in resets(module) if re.search("cache|kv", name)]
    return methods + named(HELD, [*vars(module), *module._buffers, *module._modules])


def manners(names: Iterable[str], module: nn.Module) -> Iterator[CacheManner]:
    """Every way in which a forward with these arguments may go on; more arguments first."""
    names = list(names)
    flag, past, position = (
        [*named(p, names)[:1], ""] if p is not PAST else [*named(p, names), ""]
        for p in (FLAG, PAST, POSITION)
    )
    reset = next(iter(resets(module)), "")
    objects = {p: [*holder_finding.holders(module, p), A_LIST] for p in past if p}
    for p, f, s in product(past, flag, position):
        if not (p or f or s):
            continue
        for ranged in (False, True) if s else (False,):
            for place in (1, 2, 0) if p else (1,):
                yield CacheManner(f, p, place, s, ranged, "" if p else reset)
            for holder in objects.get(p, ()):
                yield CacheManner(f, p, 0, s, ranged, "", holder)


RANKS = ("runs", "remembers", "goes on as the whole")


class Trial:
    """Feeds modules of the same weights, three items at a time."""

    def __init__(self, build: Build, sizes: Sizes, telling: Telling = nothing) -> None:
        """build: a new module in a format, with room for more than 5 tokens."""
        self.build, self.sizes, self.telling = build, sizes, telling
        shape = (sizes.batch, TOKENS, sizes.d_in)
        self.x = FORMATS["bfloat16"].round(np.random.default_rng(1).normal(size=shape))

    def manner(self, names: Iterable[str], module: nn.Module) -> CacheManner | None:
        """How a forward with these arguments goes on; None where no trial tells.

        One that goes on as it should is taken before one that goes on from something else, and that
        before one that runs: it is judged then.
        """
        found: dict[int, CacheManner] = {}
        for candidate in manners(names, module):
            rank = self.understood(candidate)
            if rank == len(RANKS):
                return candidate
            if rank:
                found.setdefault(rank, candidate)
        return found[max(found)] if found else None

    def understood(self, candidate: CacheManner) -> int:
        """How much of `RANKS` is so."""
        steps, whole = self.steps(candidate), self.whole()
        if steps is None:
            return 0
        if whole is not None and whole.shape == steps.shape and close(whole, steps):
            return len(RANKS)
        if candidate.holder is not None and not candidate.holder.certain:
            return 0
        changed = self.steps(candidate, other=True)
        if changed is not None and not close(steps[:, 3:], changed[:, 3:]):
            return 2
        # A flag beside a way to forget, or a past that grows, can mean nothing else.
        return int(bool(candidate.flag and candidate.reset) or self.grows(candidate))

    def steps(
        self, candidate: CacheManner, other: bool = False, dtype: str = "float32"
    ) -> Array | None:
        """The outputs of 3 tokens, then 1, then 1; None where a step raises. other: of another past."""
        x = self.x.copy()
        x[:, : CHUNKS[0]] += other

        def fed() -> Array:
            module, outputs = self.build(dtype), []
            state = self.begun(candidate, module)
            for chunk in np.split(x, np.cumsum(CHUNKS)[:-1], axis=1):
                told = self.telling(state.length, state.length + chunk.shape[1], dtype)
                output, state = candidate.step(module, state, chunk, dtype, told)
                outputs.append(output)
            return np.concatenate(outputs, axis=1)

        return tried(fed)

    def padded(self, begin: Callable[..., Any], step: Callable[..., tuple[Array, Any]]) -> bool:
        """Whether the same steps run where the second token of each item is padding."""
        real = np.ones(self.x.shape[:2], dtype=np.bool_)
        real[:, 1] = False

        def fed() -> Array:
            module, end, output = self.build("float32"), 0, self.x
            state = begin(module, len(self.x))
            for length in CHUNKS:
                start, end = end, end + length
                output, state = step(module, state, self.x[:, start:end], real[:, :end], "float32")
            return output

        return tried(fed) is not None

    def grows(self, candidate: CacheManner) -> bool:
        """Whether what the caller holds has an axis that is as long as what was fed, after each step."""
        if candidate.holder is not None:
            return self.is_filled(candidate)
        if not candidate.held_by_caller:
            return False
        module, lengths = self.build("float32"), list[set[int]]()
        state = self.begun(candidate, module)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for chunk in np.split(self.x, np.cumsum(CHUNKS)[:-1], axis=1):
                _, state = candidate.step(module, state, chunk, "float32")
                lengths.append({length for part in tensors(state.past) for length in part.shape})
        fed = np.cumsum(CHUNKS).tolist()
        return all(total in found for total, found in zip(fed, lengths, strict=True))

    def is_filled(self, candidate: CacheManner) -> bool:
        """Whether an object holds other tensors after a step than before it, and steps run."""
        if self.steps(candidate) is None:
            return False
        module = self.build("float32")
        state = self.begun(candidate, module)
        before = [tensor.clone() for tensor in tensors(state.past)]
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            candidate.step(module, state, self.x[:, : CHUNKS[0]], "float32")
        after = [*tensors(state.past)]
        return len(before) != len(after) or not all(map(torch.equal, before, after))

    def begun(self, candidate: CacheManner, module: nn.Module) -> State:
        """The state before the first token."""
        return candidate.begin(module, self.sizes, len(self.x))

    def whole(self) -> Array | None:
        """The output of one call without the cache."""
        told = self.telling(0, TOKENS, "float32")
        return tried(lambda: to_array(in_eval(self.build("float32"))(self.tokens(), **told)))

    def cut(self, candidate: CacheManner) -> bool:
        """Whether gradients do not come back to every parameter twice, as training needs."""
        module = self.build("float32")
        try:
            with torch.enable_grad():
                for _ in range(2):
                    module.zero_grad()
                    module(self.tokens()).sum().backward()
        except Exception:  # whatever it is, a module for decoding alone may raise it
            return True
        trained = [p.grad for p in module.parameters() if p.requires_grad]
        return any(grad is None for grad in trained)

    def tokens(self) -> torch.Tensor:
        """The five tokens."""
        return torch.tensor(self.x, dtype=torch.float32)


def tensors(past: Any, depth: int = 0) -> Iterator[torch.Tensor]:
    """All that a past holds, in lists, tuples, dicts and attributes."""
    if isinstance(past, torch.Tensor):
        yield past
    elif isinstance(past, list | tuple | dict):
        for part in past.values() if isinstance(past, dict) else past:
            yield from tensors(part, depth + 1)
    elif depth < DEEP and hasattr(past, "__dict__"):
        yield from tensors(vars(past), depth + 1)


def tried(ask: Callable[[], Array]) -> Array | None:
    """The answer without gradients, None where it raises; the caller's random state is left alone."""
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            return ask()
    except BaseException as error:  # a refusal is an answer, too
        interrupts.subjects_own(error)
        return None


def close(one: Array, other: Array) -> bool:
    """Equal up to rounding in float32."""
    return bool(np.allclose(one, other, rtol=1e-3, atol=1e-4, equal_nan=True))
