"""What is kept between calls."""

from __future__ import annotations

from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.findings.names.probes import alike, equal, probe
from properties.findings.names.probes.owned import OWNED

KEPT = frozenset(
    {
        "state/forward-is-pure",
        "shape/any-length-up-to-context",
        "causality/prefix-gives-prefix",
    }
)


@probe("a result is kept for each shape of the input", "a cache in forward", KEPT)
def kept_by_shape(case: Case) -> bool:
    """Another input of the same shape gives the first one's output."""
    instance = case.build()
    first, second = instance.run(case.x), instance.run(case.other)
    return equal(first, second) and not alike(case, second, case.run(case.other))


@probe("a mask is kept from the first call", "what forward assigns to self", KEPT)
def mask_kept(case: Case) -> bool:
    """After a call of two tokens longer ones raise or change; after one of all tokens they do not."""
    if case.sizes.tokens < 3:
        return False
    instance, again = case.build(), case.build()
    right = instance.run(case.x)
    if not equal(instance.run(case.x), right):
        return False
    again.run(case.x[:, :2])
    try:
        return not alike(case, again.run(case.x), right)
    except SubjectError:
        return True


@probe("a call adds to the state_dict", "register_buffer or an assignment in forward", KEPT | OWNED)
def state_grows(case: Case) -> bool:
    """Entries that were not there before."""
    instance = case.build()
    before = set(instance.module.state_dict())
    instance.run(case.x)
    return bool(set(instance.module.state_dict()) - before)


@probe("a call changes what the state_dict holds", "a buffer or parameter written in forward", KEPT)
def state_changes(case: Case) -> bool:
    """In either mode."""
    instance = case.build()
    before = instance.state()
    for training in (False, True):
        instance.run(case.x, training=training)
    after = instance.state()
    return before.keys() == after.keys() and any(not equal(before[n], after[n]) for n in before)
