"""Multi-head latent attention whose keys have a part of their own for positions, which all heads share and
no latent is made of (decoupled rotary keys): no attention as it is defined here has one, and it is refused.
"""

from __future__ import annotations

import re

from torch import nn

from properties.recognition.adapters import messages
from properties.recognition.adapters.spellings import latent_of, made_of_latent, normalise

# W_kr, k_rope_proj, wkr, key_rope, W_k_pe: a layer that makes them alone.
ROTARY_KEY = re.compile(
    r"(w|to)?(k|key)(r|rope|rot|rotary|pe)(proj(ection)?|linear|layer)*|(rope|rotary)(k|key)\w*"
)
WEIGHED = """
from torch.nn.functional import scaled_dot_product_attention  # or what forward calls instead

def attention(query, key, value, is_causal=False):  # (B, H, T, D)
    return scaled_dot_product_attention(query, key, value, is_causal=is_causal)
"""


def require_none(owner: str, module: nn.Module) -> None:
    """QuestionError where a layer makes such keys, beside the latent or alone."""
    layers = {path: part for path, part in module.named_modules() if isinstance(part, nn.Linear)}
    if name := beside_latent(layers) or alone(layers):
        raise messages.refusal(
            f"{owner} is multi-head latent attention with a rotary key of its own: {name} makes a part of "
            "the keys that all heads share, beside what is made of the latent.",
            "queries, keys and values that are each made whole by one matrix",
            "ask what weighs them, once they are made, by a function:",
            WEIGHED,
        )


def beside_latent(layers: dict[str, nn.Linear]) -> str:
    """The layer that makes a latent for keys and more columns than any layer takes; "" for none."""
    for path, down in layers.items():
        letters = latent_of(last(path))
        takes = [up.in_features for p, up in layers.items() if takes_latent(p, letters)]
        if "k" in letters and takes and max(takes) < down.out_features:
            return path
    return ""


def alone(layers: dict[str, nn.Linear]) -> str:
    """The layer that is called like one for such keys, beside layers that keys are made of a latent by."""
    latent = any("k" in made_of_latent(last(path)) for path in layers)
    called = (p for p in layers if latent and ROTARY_KEY.fullmatch(normalise(last(p))))
    return next(called, "")


def takes_latent(path: str, letters: str) -> bool:
    """Whether a layer of this name takes the latent for these of q, k and v."""
    own = made_of_latent(last(path))
    return bool(own) and set(own) <= set(letters)


def last(path: str) -> str:
    """The name of a layer."""
    return path.rpartition(".")[2]
