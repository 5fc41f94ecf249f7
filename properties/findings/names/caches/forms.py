"""All wrong caches that have a name, those that join past and present first."""

from __future__ import annotations

# What is imported is found below `Memory`, in this order.
from properties.findings.names.caches import catalogue as catalogue
from properties.findings.names.caches import slots as slots
from properties.findings.names.caches.memory import Memory


def below(base: type[Memory]) -> list[type[Memory]]:
    """All that derive from a form, in the order in which they are written."""
    found = []
    for form in base.__subclasses__():
        found += [form, *below(form)]
    return found


CATALOGUE = [form for form in below(Memory) if form.called]
