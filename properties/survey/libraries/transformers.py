"""transformers: a config each, and two ways to compute attention."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

from properties.survey.lines import Line
from properties.survey.masks import of_the_past

READ = {
    "GPT2Attention": "gpt2",
    "BertSelfAttention": "bert",
    "T5Attention": "t5",
    "WhisperAttention": "whisper",
}
"""Classes, with their folders, that read from the config how they compute: a value says it."""
OWN = {"LlamaAttention": "llama", "MistralAttention": "mistral", "Qwen3Attention": "qwen3"}
"""Classes whose own config has to be told so before it is handed over."""
WAYS = ("eager", "sdpa")
FLAGGED = {(name, "sdpa") for name in ("BertSelfAttention", "T5Attention", "WhisperAttention")}
"""Those that have a causal flag whose place a mask takes: they are asked without it."""


def path(folder: str) -> str:
    """The module of a folder."""
    return f"transformers.models.{folder}.modeling_{folder}"


LINES = (
    *(
        Line(
            "transformers",
            f"{name}, {way}",
            f"{path(folder)}:{name}",
            given=(f'_attn_implementation_internal="{way}"',),
            family="encoder" if (name, way) in FLAGGED else None,
        )
        for name, folder in READ.items()
        for way in WAYS
    ),
    *(
        Line("transformers", f"{name}, {way}", f"{__name__}:{name}_{way}")
        for name in OWN
        for way in WAYS
    ),
)


def __getattr__(name: str) -> Any:
    """A class of these by one of its ways: LlamaAttention_eager."""
    of, _, way = name.partition("_")
    if of not in OWN or way not in WAYS:
        raise AttributeError(name)
    return by(getattr(import_module(path(OWN[of])), of), way)


def by(attention: Any, way: str) -> Any:
    """The class that tells its config how to compute before it reads it.

    By sdpa a mask takes the place of the causal flag: there it is handed over with the future hidden.
    """

    @functools.wraps(attention.__init__)
    def build(self: Any, config: Any, *others: Any, **named: Any) -> None:
        config._attn_implementation = way
        attention.__init__(self, config, *others, **named)

    @functools.wraps(attention.forward)
    def forward(
        self: Any,
        hidden_states: Any,
        position_embeddings: Any = None,
        attention_mask: Any = None,
        *others: Any,
        **named: Any,
    ) -> Any:
        if way == "sdpa":
            attention_mask = of_the_past(attention_mask, hidden_states.shape[1])
        given = (hidden_states, position_embeddings, attention_mask, *others)
        return attention.forward(self, *given, **named)

    own = {"__init__": build, "forward": forward, "__module__": __name__}
    return type(attention.__name__, (attention,), own)
