"""A context whose keys and values are kept from call to call: how, and what later calls are handed, is
found by trial.

Legend: B batch, T tokens of x, S tokens of a context.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import numpy as np
from torch import nn

from properties.basics.dtypes import FORMATS, Array
from properties.recognition.adapters import calls, earlier_tokens
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.asking import cache_finding
from properties.recognition.asking.cache_finding import close, tried
from properties.recognition.asking.caches import CacheManner
from properties.subjects.call import Arguments
from properties.subjects.subject import LATER

TOKENS, OTHERS = 3, 4  # of x, fed one by one, and of a context
Found = tuple[CacheManner, tuple[str, ...]]


def offer(finished: ModuleSubject, module: nn.Module, call: calls.Call) -> None:
    """Claim the way in which a trial shows that keys and values of a context are kept."""
    if not asked_of(finished):
        return
    trial, kept = Trial(finished, may_be_none(module, call.context)), list[Found]()
    for manner in manners(call, module):
        if later := tuple(way for way in LATER if trial.kept(manner, way)):
            kept.append((manner, later))
            if all(trial.right(manner, way) for way in later):
                claim(finished, trial, manner, later)
                return
    if kept:
        claim(finished, trial, *kept[0])


def may_be_none(module: nn.Module, name: str) -> bool:
    """Whether forward says of an argument that it may be None; of none it says nothing."""
    told = inspect.signature(calls.inside(module).forward).parameters.get(name)
    return told is not None and (told.default is None or "None" in str(told.annotation))


def asked_of(finished: ModuleSubject) -> bool:
    """Whether it takes a context of which nothing is hidden unasked, and whose tokens have no places."""
    takes = finished.takes
    if "context" not in takes or "context_values" in takes or finished.positions is not None:
        return False
    by_items = not finished.manner.batched or "T T" in finished.manner.pairs.values()
    return not by_items and not finished.has("always causal")


def manners(call: calls.Call, module: nn.Module) -> Iterator[CacheManner]:
    """Every way in which a forward may keep them that can begin anew."""
    for manner in cache_finding.manners(call.optional, module):
        if not manner.position and (manner.past or manner.reset):
            yield manner


def claim(
    finished: ModuleSubject, trial: Trial, manner: CacheManner, later: tuple[str, ...]
) -> None:
    """Claim that a context is kept so, in the formats in which later calls run."""
    finished.keeping, finished.later = manner, later
    finished.kept_in = tuple(
        d
        for d in finished.dtypes
        if all(trial.fed(manner, way, dtype=d) is not None for way in later)
    )
    own = finished.takes["context"]
    handed = " or ".join(LATER[way].format(own) for way in later)
    finished.notes += (f"keys and values of {own} are kept: {manner.words}; {handed} later",)
    finished.notes += tuple(
        f"{own} is not kept in {dtype}: a later call raises there"
        for dtype in finished.dtypes
        if dtype not in finished.kept_in
    )
    asked = {*manner.arguments, f"{manner.reset}()"}
    finished.unasked = {n: text for n, text in finished.unasked.items() if n not in asked}


class Trial:
    """Feeds modules of the same weights tokens one by one, of three items."""

    def __init__(self, finished: ModuleSubject, spared: bool) -> None:
        """Draw x and two contexts, in numbers that are exact in every format.

        spared: whether a context that it always needs may be None.
        """
        self.spared = spared
        self.finished, self.sizes = finished, earlier_tokens.roomy(finished)
        self.build = earlier_tokens.builder(finished, self.sizes)
        rng, shape = np.random.default_rng(1), (self.sizes.batch, TOKENS, self.sizes.d_in)
        self.x = FORMATS["bfloat16"].round(rng.normal(size=shape))
        self.one, self.other = (
            FORMATS["bfloat16"].round(rng.normal(size=(shape[0], OTHERS, shape[2]))) for _ in "12"
        )

    def kept(self, manner: CacheManner, later: str) -> bool:
        """Whether later calls are answered by the context of the first one, and by no other; where x alone
        is not attended to, a past can be nothing else.
        """
        base, moved = self.fed(manner, later), self.fed(manner, later, first=self.other)
        if base is None or moved is None or close(base[:, 1:], moved[:, 1:]):
            return False
        holder = manner.holder
        if holder is not None and holder.of_each is None and not holder.certain:
            return self.right(manner, later) and self.ignores(manner, later)
        if self.finished.own_context and (self.spared or later == "again"):
            return True
        if later == "none":
            return self.right(manner, later)
        return self.ignores(manner, later)

    def ignores(self, manner: CacheManner, later: str) -> bool:
        """Whether the context that later calls are told makes no difference."""
        base, other = self.fed(manner, later), self.fed(manner, later, then=self.other)
        return base is not None and other is not None and close(base[:, 1:], other[:, 1:])

    def right(self, manner: CacheManner, later: str) -> bool:
        """Whether later calls give what calls with the context give."""
        found, whole = self.fed(manner, later), tried(self.whole)
        return found is not None and whole is not None and close(found, whole)

    def whole(self) -> Array:
        """The output of one call with the context."""
        inputs = {"x": self.x, "context": self.one}
        return self.finished.ask(self.build("float32"), inputs, Arguments(), "float32").output

    def fed(
        self,
        manner: CacheManner,
        later: str,
        first: Array | None = None,
        then: Array | None = None,
        dtype: str = "float32",
    ) -> Array | None:
        """The outputs of all tokens, None where a call raises; first, then: the context of the first call
        and of later ones.
        """
        first, then = (self.one if part is None else part for part in (first, then))

        def ask() -> Array:
            module, outputs = self.build(dtype), []
            state = manner.begin(module, self.sizes, len(self.x))
            for n, x in enumerate(np.split(self.x, TOKENS, axis=1)):
                told = {"x": x, "context": then if n else first}
                given = (module, state, told, Arguments(), dtype)
                output, state = self.finished.step_by(
                    manner, *given, handed=later if n else "again"
                )
                outputs.append(output)
            return np.concatenate(outputs, axis=1)

        return tried(ask)
