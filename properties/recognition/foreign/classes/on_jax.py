"""What the libraries on JAX have in common."""

from __future__ import annotations

from typing import Any

from properties.recognition.foreign import jax_arrays
from properties.recognition.foreign.arrays import Arrays
from properties.recognition.foreign.classes.kind import Kind


class OnJax(Kind):
    """Arrays are JAX's, and a generator is a key."""

    @property
    def arrays(self) -> Arrays:
        """JAX's."""
        return jax_arrays.ARRAYS

    def generator(self, seed: Any) -> Any:
        """A key."""
        import jax

        return jax.random.key(seed)
