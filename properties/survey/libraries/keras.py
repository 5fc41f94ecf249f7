"""Keras: its layer with the suite's weights, and attention of its operations, on torch and on JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from properties.recognition.foreign import keras_arrays
from properties.recognition.foreign.modules import ForeignSubject, Made, Place
from properties.subjects.subject import Config
from properties.survey.lines import Line

BACKENDS = ("torch", "jax")
LINES = tuple(
    Line("keras", f"{what}, on {on}", target, needs=(on,), environment={"KERAS_BACKEND": on})
    for what, target in (
        ("layers.MultiHeadAttention", f"{__name__}:MultiHead"),
        ("ops.nn.dot_product_attention", "keras.ops:dot_product_attention"),
    )
    for on in BACKENDS
)
ROLES = {"query": "query", "key": "key", "value": "value", "out": "attention_output"}


class MultiHead(ForeignSubject):
    """Kernels are (d_in, H, D), and (H, D, W) behind the heads; one switch rules all biases."""

    name = "keras.layers.MultiHeadAttention"
    capabilities = frozenset(
        {"projections", "out-projection", "out-bias", "always-biased", "rectangular", "batched"}
    )
    places: Mapping[str, Place] = {
        **{role: Place(f"{name}.kernel") for role, name in ROLES.items()},
        **{f"{role}_bias": Place(f"{name}.bias") for role, name in ROLES.items()},
    }
    told = ("attention_mask", "context")
    unasked: Mapping[str, str] = {
        "use_causal_mask": "whether the future is hidden: it keeps its default",
        "sliding_window": "how many keys a query sees: it keeps its default",
        "query_mask, value_mask, key_mask": "which tokens are padding: they keep their defaults",
    }

    def __init__(self) -> None:
        """In the arrays of the backend that is chosen."""
        self.arrays = keras_arrays.chosen()
        super().__init__()

    def make(self, config: Config) -> Made:
        """Called without a state of its own, as Keras offers it."""
        import keras

        s = config.sizes
        layer = keras.layers.MultiHeadAttention(
            s.heads, config.width // s.heads, output_shape=config.width, dtype=config.dtype
        )
        layer.build((None, None, s.d_in), (None, None, s.d_in))
        fixed = [variable.value for variable in layer.non_trainable_variables]

        def call(x: Any, *parameters: Any, context: Any = None, **told: Any) -> Any:
            other = x if context is None else context
            output, _ = layer.stateless_call(
                list(parameters), fixed, x, other, training=False, **told
            )
            return output

        named = {v.path.partition("/")[2].replace("/", "."): v for v in layer.trainable_variables}
        return Made(call, {n: keras.ops.convert_to_numpy(v.value) for n, v in named.items()})
