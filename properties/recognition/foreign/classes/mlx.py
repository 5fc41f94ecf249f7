"""MLX: a module is a dict of arrays and of modules, which a call is made with in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from properties.recognition.foreign import mlx_arrays
from properties.recognition.foreign.arrays import Arrays
from properties.recognition.foreign.classes.kind import Kind, Opened


class Mlx(Kind):
    """Dropout is drawn from the library's one generator."""

    name, packages = "MLX", ("mlx.nn.",)

    @property
    def arrays(self) -> Arrays:
        """MLX's."""
        return mlx_arrays.ARRAYS

    def opened(self, make: Callable[[], Any], width: int, dtype: str) -> Opened:
        """Parameters by the names of attributes."""
        import mlx.core as mx
        from mlx.utils import tree_flatten, tree_unflatten

        module = make()
        parameters = dict(tree_flatten(module.trainable_parameters()))

        def call(
            weights: Mapping[str, Any], given: Any, named: Any, training: bool, seed: Any
        ) -> Any:
            module.update(tree_unflatten(list(weights.items())))
            module.train(training)
            if training:
                mx.random.seed(int(seed.item()))
            return module(*given, **named)

        return Opened(call, parameters)


KIND = Mlx()
