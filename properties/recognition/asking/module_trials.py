"""Calls of a module by which it is found what its forward takes: each answer tells which keys were seen.

Its queries and keys are made zero, so that every key that is seen has the same weight, and the value
of key j is 2**j: a row is the mean of some powers of two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from properties.basics.dtypes import FORMATS
from properties.recognition.asking import modules, probing
from properties.recognition.asking.modules import OF_CONTEXT, PLAINLY, ModuleManner
from properties.subjects.call import Answer, Arguments, Handing, Inputs
from properties.subjects.subject import Config
from properties.truth.parameters import Sizes, Weights

KEYS = 4
LAST = np.array([True, True, False, True])  # the keys that are told to be seen
FIRST = np.array([True, True, False, False])  # those where they are counted
SEGMENTS = (
    [1, 1, 1, 1],
    [1, 1, 2, 2],
    [2, 2, 1, 1],
)  # the last token is in the first or a later one
Build = Callable[[Config, Weights], nn.Module]


SINGLE = ("B T T", "B 1 T T", "T T")
# As torch's own module wants it, if it is taken so; fairseq's has one for all items.
ALSO_OF_HEADS = ("B*H T T", "B 1 T T", "B T T", "T T")


class Trial:
    """Asks modules of these sizes, whose weights are level; the last row, since it may see all keys."""

    roles = PLAINLY
    queries = KEYS
    of_keys: Sequence[str] = ("B T",)

    def __init__(self, build: Build, sizes: Sizes, shapes: Sequence[str] = SINGLE) -> None:
        """Take over how modules are built, their d_in, heads and head_dim, and the shapes of masks of
        pairs, keys of `SHAPES`, in the order in which they are tried.
        """
        self.build, self.shapes = build, shapes
        if shapes is not SINGLE:
            self.of_keys = tuple(modules.KEYS)
        self.sizes = replace(sizes, tokens=KEYS, context_length=KEYS)

    def inputs(self, items: int) -> Inputs:
        """So many items, all alike; the first column of key j is 2**j."""
        return {"x": powers(items, self.sizes.d_in, self.sizes.tokens)}

    def longer(self) -> Trial:
        """The same with a token more."""
        other, tokens = copy(self), KEYS + 1
        other.sizes = replace(self.sizes, tokens=tokens, context_length=tokens)
        return other

    def ask(
        self,
        manner: ModuleManner,
        arguments: Arguments,
        items: int,
        dtype: str = "float32",
        handing: Handing | None = None,
        *,
        uneven: bool = False,
    ) -> Answer | None:
        """The answer for so many items, all alike; None where the call raises. uneven: whether scores grow
        from key to key.
        """
        s = replace(self.sizes, batch=items)
        query, key, value = (
            np.zeros((s.d_in_of(role), s.width_of(role))) for role in ("query", "key", "value")
        )
        value[0, 0] = 1.0
        if uneven:
            query[0, 0] = key[0, 0] = 1.0
        weights = Weights(query=query, key=key, value=value)
        return probing.asked(
            lambda inputs, told: manner.ask(
                self.build(Config(s, dtype=dtype), weights), inputs, told, dtype, handing
            ),
            self.inputs(items),
            arguments,
        )

    def telling(self, manner: ModuleManner, name: str, items: int) -> Arguments:
        """The keys 0, 1 and 3, as a "mask" or as "padding"; the first two where these are counted."""
        if name == "padding":
            counted = getattr(manner.conventions, self.roles[name]) == "counts"
            return Arguments(padding=np.tile(FIRST if counted else LAST, (items, 1)))
        return Arguments(mask=self.pairs(LAST, items))

    def pairs(self, keys: Any, items: int) -> Any:
        """(B, 1, T, S): the same for every query."""
        return np.broadcast_to(keys, (items, 1, self.queries, KEYS)).copy()

    def number(self, manner: ModuleManner, arguments: Arguments) -> float:
        """What the last row of a single item gives; NaN where the call raises."""
        answer = self.ask(manner, arguments, items=1)
        return float("nan") if answer is None else float(answer.output[0, -1, 0])

    def polarity(self, manner: ModuleManner, name: str) -> str:
        """What True means in such a mask; "" if neither."""
        found = probing.keys_of(self.number(manner, self.telling(manner, name, 1)), KEYS)
        return {frozenset({0, 1, 3}): "attend", frozenset({2}): "hide"}.get(
            found or frozenset(), ""
        )

    def acts(self, manner: ModuleManner, name: str) -> bool:
        """Whether such a mask makes any difference, or is refused."""
        told, plain = (
            self.ask(manner, arguments, items=1)
            for arguments in (self.telling(manner, name, 1), Arguments())
        )
        return told is None or plain is None or not np.array_equal(told.output, plain.output)

    def reads_one_row(self, manner: ModuleManner) -> bool:
        """Whether the first row of a mask of pairs says what the last query sees."""
        mask = self.pairs(LAST, 1)
        alike = self.number(manner, Arguments(mask=mask))
        mask[..., 0, :] = ~LAST
        return alike != self.number(manner, Arguments(mask=mask))

    def adds(self, manner: ModuleManner) -> bool:
        """Whether numbers are added to the scores: log 3 for key 1 counts it three times."""
        bias = self.pairs(np.log([1.0, 3.0, 1.0, 1.0]), 1)
        return abs(self.number(manner, Arguments(bias=bias)) - 19.0 / 6.0) < 1e-3

    def is_flag(self, manner: ModuleManner) -> bool:
        """Whether any mask hides the future and shows all else, and without one all is seen."""
        plain, masked = (
            self.ask(manner, told, items=1)
            for told in (Arguments(), self.telling(manner, "mask", 1))
        )
        if plain is None or masked is None:
            return False
        whole = (2.0**KEYS - 1.0) / KEYS
        seen = plain.output[0, 0, 0], masked.output[0, 0, 0], masked.output[0, -1, 0]
        return bool(np.allclose(seen, (whole, 1.0, whole), atol=1e-3))

    def loses_its_own_rows(self, manner: ModuleManner) -> bool:
        """Whether a query that is padding itself sees nothing, or itself alone, where the others see what
        is none.
        """
        told = self.telling(manner, "padding", 1)
        answer = self.ask(manner, told, items=1)
        if told.padding is None or answer is None or len(answer.output[0]) < KEYS:
            return False
        rows = int(np.argmin(told.padding[0])), int(np.flatnonzero(told.padding[0])[-1])
        padded, other = (float(answer.output[0, row, 0]) for row in rows)
        alone = probing.keys_of(padded, KEYS) == frozenset({rows[0]})
        return (bool(probing.of_nothing(padded)) or alone) and padded != other

    def counts_the_last(self, manner: ModuleManner) -> bool:
        """Whether a number of real tokens is of the last ones, as where padding stands before them."""
        told = Arguments(padding=np.arange(KEYS)[None] < KEYS - 1)
        answer = self.ask(manner, told, items=1)
        if answer is None:
            return False
        seen = probing.keys_of(float(answer.output[0, KEYS - 2, 0]), KEYS)
        return seen in (frozenset({1, 2, 3}), frozenset({1, 2}))

    def counts_these(self, manner: ModuleManner) -> bool:
        """Whether a number of real tokens shows so many of these keys, one more or less, or the others."""
        seen = probing.keys_of(self.number(manner, self.telling(manner, "padding", 1)), KEYS)
        return seen in [frozenset(keys) for keys in ({0}, {0, 1}, {0, 1, 2}, {2, 3})]

    def empty(self, manner: ModuleManner) -> str:
        """What a row gives that sees nothing; "" if nothing known."""
        mask = self.pairs(np.ones(KEYS, dtype=np.bool_), 1)
        mask[..., -1, :] = False
        answer = self.ask(manner, Arguments(mask=mask), items=1)
        known = "" if answer is None else probing.of_nothing(float(answer.output[0, -1, 0]))
        told = (Arguments(mask=mask), 1)
        others = (self.ask(manner, *told, dtype, uneven=True) for dtype in FORMATS)
        numbers = (float(other.output[0, -1, 0]) for other in others if other is not None)
        return probing.by_uneven(known, numbers)


class CrossTrial(Trial):
    """The same of a context, with other tokens in x, whose first column would show."""

    roles = OF_CONTEXT

    def __init__(
        self,
        build: Build,
        sizes: Sizes,
        d_context: int,
        queries: int = KEYS - 1,
        shapes: Sequence[str] = SINGLE,
    ) -> None:
        """d_context: the width of the context, 0 for that of x."""
        super().__init__(build, replace(sizes, d_context=d_context), shapes)
        self.queries = queries

    def inputs(self, items: int) -> Inputs:
        """A context whose first column tells its tokens, and an x that is far from them."""
        x = np.full((items, self.queries, self.sizes.d_in), 2.0**KEYS)
        return {"x": x, "context": powers(items, self.sizes.d_in_of("key"))}

    def attends(self, manner: ModuleManner) -> bool:
        """Whether the last row is the mean of all tokens of the context, and of nothing else."""
        return abs(self.number(manner, Arguments()) - (2.0**KEYS - 1.0) / KEYS) < 1e-3

    def joins(self, manner: ModuleManner) -> bool:
        """Whether the last row is the mean of all tokens of the context and of x."""
        both = self.queries * 2.0**KEYS + 2.0**KEYS - 1.0
        return abs(self.number(manner, Arguments()) - both / (self.queries + KEYS)) < 1e-3


def powers(items: int, width: int, count: int = KEYS) -> Any:
    """(items, count, width), with 2**j in the first column of token j."""
    tokens = np.zeros((items, count, width))
    tokens[:, :, 0] = 2.0 ** np.arange(count)
    return tokens
