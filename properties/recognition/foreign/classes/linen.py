"""flax.linen: parameters are apart from the module, and made by a first call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from properties.recognition.foreign.classes.kind import Opened, first_inputs, flat, nested
from properties.recognition.foreign.classes.on_jax import OnJax
from properties.recognition.foreign.classes.original import EVALUATION, TRAINING

TOKENS = 5


class Linen(OnJax):
    """A call is handed a generator for dropout."""

    name, packages, late = "flax.linen", ("flax.linen.",), True

    def opened(self, make: Callable[[], Any], width: int, dtype: str) -> Opened:
        """Parameters by the names of layers."""
        import jax
        import jax.numpy as jnp

        module = make()
        inputs = first_inputs(module.__call__, jnp.zeros((1, TOKENS, width)))
        names = inspect.signature(module.__call__).parameters
        modes = {name: name in EVALUATION for name in names if name in TRAINING | EVALUATION}
        made = dict(module.init(jax.random.key(0), *inputs, **modes))
        parameters = flat(made.pop("params", {}))

        def call(
            weights: Mapping[str, Any], given: Any, named: Any, training: bool, seed: Any
        ) -> Any:
            rngs = {"dropout": jax.random.key(seed)} if training else {}
            return module.apply({**made, "params": nested(weights)}, *given, **named, rngs=rngs)

        return Opened(call, parameters)


KIND = Linen()
