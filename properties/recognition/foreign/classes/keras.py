"""Keras: layers of a fixed format, built by a first call, on the backend that is chosen."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from properties.recognition.foreign import keras_arrays
from properties.recognition.foreign.arrays import Arrays
from properties.recognition.foreign.classes.kind import Kind, Opened, first_inputs

TOKENS = 5


class Keras(Kind):
    """Layers compute in the format that is the default where they are made."""

    name, packages, method, late, by_format = "Keras", ("keras.",), "call", True, True

    @property
    def arrays(self) -> Arrays | None:
        """Those of the backend."""
        return keras_arrays.chosen()

    def opened(self, make: Callable[[], Any], width: int, dtype: str) -> Opened:
        """Parameters by the names of attributes."""
        import keras

        before = keras.config.floatx(), keras.config.dtype_policy()
        try:
            keras.config.set_floatx(dtype)
            keras.config.set_dtype_policy(dtype)
            layer = make()
            layer(*first_inputs(layer.call, keras.ops.zeros((1, TOKENS, width), dtype=dtype)))
        finally:
            keras.config.set_floatx(before[0])
            keras.config.set_dtype_policy(before[1])
        named_variables = {id(v): path for path, v in variables(layer)}
        trained = layer.trainable_variables
        names = [named_variables.get(id(v), v.path.replace("/", ".")) for v in trained]
        others = layer.non_trainable_variables
        tells_mode = "training" in inspect.signature(layer.call).parameters

        def call(
            weights: Mapping[str, Any], given: Any, named: Any, training: bool, seed: Any
        ) -> Any:
            kept = [seeded(v, seed) if training else v.value for v in others]
            told = {**named, "training": training} if tells_mode else named
            output, _ = layer.stateless_call(list(weights.values()), kept, *given, **told)
            return output

        values = (np.asarray(keras.ops.convert_to_numpy(v.value)) for v in trained)
        return Opened(call, dict(zip(names, values, strict=True)))


def seeded(variable: Any, seed: Any) -> Any:
    """The value of a variable, of a generator's state one that follows from the seed."""
    import keras

    if not variable.path.endswith("seed_generator_state"):
        return variable.value
    return keras.ops.cast(keras.ops.stack([seed, seed * 0]), variable.dtype)


def variables(layer: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The variables of a layer and of the layers in its attributes, with their paths."""
    import keras

    held = {**vars(layer), **vars(layer).get("_modules", {})}  # there, where Keras is on torch
    for name, value in held.items():
        if isinstance(value, keras.Variable):
            yield f"{prefix}{name.strip('_')}", value
        elif isinstance(value, keras.Layer):
            yield from variables(value, f"{prefix}{name.strip('_')}.")


KIND = Keras()
