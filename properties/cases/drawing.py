"""Where Hypothesis takes the choices of an example from: the seed, and nothing that lies around.

By itself it reads the modules in the working directory and now and then draws a number that stands
there. The same seed would draw other examples beside another file, and what has been read is kept
in a folder .hypothesis of the user's.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from hypothesis.internal.conjecture import providers


@contextmanager
def from_the_seed_alone() -> Iterator[None]:
    """What is drawn in the body comes from the seed. Versions of Hypothesis that never read modules
    have none of what is replaced here.
    """
    if not hasattr(providers, "_get_local_constants"):
        yield
        return
    from hypothesis.internal.constants_ast import Constants

    fresh = type(providers.CONSTANTS_CACHE)(providers.CONSTANTS_CACHE.max_size)
    with mock.patch.multiple(providers, _get_local_constants=Constants, CONSTANTS_CACHE=fresh):
        yield


@contextmanager
def with_objects_set_aside() -> Iterator[None]:
    """In the body the garbage collector looks at no object that was there before.

    Before its first draw Hypothesis has it look at all of them, and with those of torch that takes ten
    times as long as the draws. Where somebody has set objects aside for good, they stay so, and nothing
    is saved.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
