"""Keras, which computes on torch, on JAX or on NumPy, as its user has chosen."""

from __future__ import annotations

from properties.recognition.foreign import jax_arrays, numpy_arrays
from properties.recognition.foreign.arrays import Arrays

PACKAGES = frozenset({"keras", "keras_hub", "keras_nlp"})
BEHIND: dict[str, Arrays | None] = {
    "torch": None,
    "jax": jax_arrays.ARRAYS,
    "numpy": numpy_arrays.ARRAYS,
}


def chosen() -> Arrays | None:
    """The arrays behind Keras in this process; None for torch's tensors, and for what is not known."""
    import keras

    return BEHIND.get(keras.backend.backend())
