"""One module for many runs: what is built for a run alone serves the next one of the same sizes.

Building modules was a third of what a verdict costs. While modules are lent, a run gets the module that an
earlier run of the same sizes used, with its own weights written into it. A module that keeps something
from call to call may answer otherwise then than a new one does; so a law that does not hold on
modules that were lent is asked anew on new ones, and what these say counts. Laws about what a module
keeps build modules of their own and are not lent any.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from properties.subjects.instance import Instance
from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Weights

KEPT = 8  # cases come one after the other, each with few sizes


@dataclass
class Lender:
    """The instances that were used last, by what they were built for, with the weights they carry."""

    instances: OrderedDict[tuple[Subject, Config], tuple[Instance, Weights | None]] = field(
        default_factory=OrderedDict
    )
    reused: bool = False  # whether an instance that was used before has been lent

    @contextmanager
    def lending(self) -> Iterator[None]:
        """Until the end of this, runs are lent instances."""
        global _lender
        outer, _lender = _lender, self
        try:
            yield
        finally:
            _lender = outer

    def lend(
        self,
        subject: Subject,
        config: Config,
        weights: Weights | None,
        build: Callable[[], Instance],
    ) -> Instance:
        """An instance with these weights: one used before, if it can be filled anew."""
        key = subject, config
        instance, carried = self.instances.pop(key, (None, None))
        if instance is None or not (
            carried is weights or subject.refill(instance.module, config, weights)
        ):
            instance = build()
        else:
            self.reused = True
        self.instances[key] = instance, weights
        if len(self.instances) > KEPT:
            self.instances.popitem(last=False)
        return instance


_lender: Lender | None = None


def lends() -> bool:
    """Whether runs may get a module that was used before."""
    return _lender is not None


def lent(
    subject: Subject, config: Config, weights: Weights | None, build: Callable[[], Instance]
) -> Instance:
    """An instance for one run: one that is lent, or else a new one."""
    return build() if _lender is None else _lender.lend(subject, config, weights, build)
