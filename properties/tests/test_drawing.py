"""What a draw leaves alone: the caller's objects, as the garbage collector has them."""

from __future__ import annotations

import gc

from properties.cases.drawing import with_objects_set_aside


def test_objects_are_set_aside_for_a_draw_alone() -> None:
    """Afterwards the collector looks at them again."""
    with with_objects_set_aside():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_objects_that_somebody_has_set_aside_stay_so() -> None:
    """A server that is forked sets aside what its children share."""
    gc.freeze()
    try:
        with with_objects_set_aside():
            pass
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
