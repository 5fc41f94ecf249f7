"""flax: nnx.MultiHeadAttention, with the suite's weights in its tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from properties.recognition.foreign import jax_arrays
from properties.recognition.foreign.modules import ForeignSubject, Made, Place
from properties.subjects.subject import Config
from properties.survey.lines import Line

LINES = (Line("flax", "nnx.MultiHeadAttention", f"{__name__}:MultiHead"),)
ROLES = {"query": "query", "key": "key", "value": "value", "out": "out"}


class MultiHead(ForeignSubject):
    """Kernels are (d_in, H, D), and (H, D, W) behind the heads; one switch rules all biases."""

    name = "flax.nnx.MultiHeadAttention"
    arrays = jax_arrays.ARRAYS
    capabilities = frozenset(
        {
            "projections",
            "out-projection",
            "out-bias",
            "always-biased",
            "rectangular",
            "batched",
            "groups",
        }
    )
    places: Mapping[str, Place] = {
        **{role: Place(f"{name}.kernel") for role, name in ROLES.items()},
        **{f"{role}_bias": Place(f"{name}.bias") for role, name in ROLES.items()},
    }
    told = ("mask", "context")
    unasked: Mapping[str, str] = {
        "is_causal": "whether the future is hidden: it keeps its default",
        "decode": "keys and values of earlier tokens: it keeps its default",
        "normalize_qk": "whether queries and keys are normalised: it keeps its default",
    }

    def make(self, config: Config) -> Made:
        """Split into the graph and its state, which is merged again in the call."""
        import jax
        from flax import nnx

        s = config.sizes
        module = nnx.MultiHeadAttention(
            num_heads=s.heads,
            in_features=s.d_in,
            qkv_features=config.width,
            out_features=config.width,
            num_kv_heads=s.key_heads,
            param_dtype=config.dtype,
            decode=False,
            rngs=nnx.Rngs(config.seed),
        )
        graph, state, rest = nnx.split(module, nnx.Param, ...)
        leaves, tree = jax.tree.flatten(state)
        names = [".".join(map(str, path)) for path, _ in nnx.to_flat_state(state)]

        def call(
            x: Any, *parameters: Any, mask: Any = None, context: Any = None, **told: Any
        ) -> Any:
            made = nnx.merge(graph, jax.tree.unflatten(tree, parameters), rest)
            return made(x, context, mask=mask, deterministic=True)

        return Made(call, dict(zip(names, leaves, strict=True)))
