"""Whose modules a class makes, where these are not torch's."""

from __future__ import annotations

from torch import nn

from properties.recognition.foreign.classes import equinox, haiku, keras, linen, mlx, nnx, plain
from properties.recognition.foreign.classes.kind import Kind

KINDS: tuple[Kind, ...] = (nnx.KIND, linen.KIND, haiku.KIND, equinox.KIND, keras.KIND, mlx.KIND)


def kind_of(owner: type) -> Kind | None:
    """Whose modules a class makes; None for torch's, and for no modules."""
    served = by_base(owner)
    if served is not None or issubclass(owner, nn.Module):  # a layer of Keras' may be torch's, too
        return served
    return plain.of_class(owner)


def by_base(owner: type) -> Kind | None:
    """The same by the class that it is derived from alone."""
    return next((kind for kind in KINDS if kind.serves(owner)), None)


def packages() -> tuple[str, ...]:
    """Where the base classes of these modules are."""
    return tuple(package for kind in KINDS for package in kind.packages)
