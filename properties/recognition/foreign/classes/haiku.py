"""haiku: a module lives inside a function that is transformed; parameters are made by a first call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from properties.recognition.foreign.classes.kind import Opened, first_inputs
from properties.recognition.foreign.classes.on_jax import OnJax

TOKENS = 5
OURS = {"w": "kernel", "b": "bias"}
"""What a layer calls its matrix and its bias, and what other libraries on JAX call them."""


class Haiku(OnJax):
    """A call in training is handed a generator by what transforms it."""

    name, packages, late = "haiku", ("haiku.",), True

    def opened(self, make: Callable[[], Any], width: int, dtype: str) -> Opened:
        """Parameters by the names of layers."""
        import haiku as hk
        import jax
        import jax.numpy as jnp

        inside = hk.transform_with_state(lambda *given, **named: make()(*given, **named))
        tokens = jnp.zeros((1, TOKENS, width))
        inputs = hk.transform(lambda: first_inputs(make().__call__, tokens)).apply({}, None)
        made, state = inside.init(jax.random.key(0), *inputs)
        places = {
            f"{path}.{OURS.get(name, name)}".replace("/", "."): (path, name)
            for path, layer in made.items()
            for name in layer
        }

        def call(
            weights: Mapping[str, Any], given: Any, named: Any, training: bool, seed: Any
        ) -> Any:
            own: dict[str, dict[str, Any]] = {}
            for ours, (path, name) in places.items():
                own.setdefault(path, {})[name] = weights[ours]
            generator = jax.random.key(seed) if training else None
            return inside.apply(own, state, generator, *given, **named)[0]

        return Opened(call, {ours: made[path][name] for ours, (path, name) in places.items()})


KIND = Haiku()
