"""Which argument of a function or forward has which role in a call, by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

OTHERS = (
    r"(context|ctx|cond|memory|mem|encoder|enc|cross|cross_attn|cross_attention|source|key_value)"
)
TOKENS = (
    r"_?(hidden_)?(states?|outputs?|out|inputs?|tokens?|x|embeddings?|embeds?|features|seq|tensor)"
)
CONTEXT = (
    rf"context|ctx|crossed?|{OTHERS}{TOKENS}|kv({TOKENS}|_in)?|x_?(kv|context|cross)|xa|"
    r"(x|y|inputs?|hidden_states)_kv|kv_seq"
)
COUNTS = (
    r"(valid_?len(gth)?|((valid|actual|real|seq|sequence|src|source|input|key|kv|key_?value|k|x)_?)*"
    r"(lens|lengths))"
)
"""How many tokens of each item are real."""
IDS = r"(segment|seq|sequence|doc|document)_?ids?"
SPELLINGS = {
    "context": (
        rf"{CONTEXT}|cond|memory|mem|source|others?|x_?2|hidden_states_?2|hidden_kv|to_tensor|conditioning|audio|(image|text)_features|"
        r"keys|key_?values?|keys_?(and_?)?values|inputs_kv|references?|latents?|src|image|text|y|z"
    ),
    "context_padding": rf"{OTHERS}_((key_)?pad(ding)?_mask|valid_mask|(?<!key_value_){COUNTS})",
    "context_mask": rf"{OTHERS}_(attn_|attention_)?masks?",
    "padding": (
        r"((src|source|tgt|target|self_attn|x|input)_)?(key|src|tgt|seq|token|kv|input|x)?_?pad(ding)?_?mask|"
        rf"key_mask|kv_mask|valid_mask|{COUNTS}"
    ),
    "mask": r"(attn|attention|att|bool|boolean|src|self_attn)?_?masks?",
    "bias": r"(attn|attention|score|scores|logit|logits|additive)_?bias|bias|mask_bias",
    "causal": r"(is|use|apply)?_?causal(_mask)?",
    "window": r"(sliding_|local_|attention_|attn_)?windows?(_size|_sizes)?|window_left|left_window",
    "scale": r"(softmax_|sm_|attn_|attention_|qk_|score_)?scal(e|ing)(_factor)?",
    "cap": r"(attn_?|logits?_?|score_?)*soft_?cap(ping)?",
    "slopes": r"(alibi_)?slopes",
    "groups": r"enable_gqa",
    "weights": r"(need|return|output|with)_(attn_|attention_)?(weights?|probs|attentions?|attn_probs|attn)",
    "documents": r"cu_?seq_?lens?(_?(q|query|queries))?",
    "segments": rf"((q|query|queries)_)?{IDS}(_(q|query|queries))?",
    "averaged": r"(average|avg)_(attn_|attention_)?(weights?|probs|attn)",
    "lse": r"return_(softmax_)?(lse|logsumexp)",
}


SCALING = re.compile(r"scal|temperature|^tau$", re.IGNORECASE)


def scales(name: str) -> bool:
    """Whether a number of this name is what scores are multiplied or divided by."""
    return bool(SCALING.search(name))


def certain(name: str) -> bool:
    """Whether an argument is a context by its name alone, and needs no trial to be taken for one."""
    return bool(re.fullmatch(CONTEXT, name.lower()))


@cache
def role(name: str) -> str | None:
    """A key of `ROLES`, or None for what has no role of these."""
    plain = name.lower()
    return next((r for r, known in SPELLINGS.items() if re.fullmatch(known, plain)), None)


def counts(name: str) -> bool:
    """Whether an argument holds the number of real tokens of each item, the first ones, by its name."""
    return bool(re.fullmatch(rf"({OTHERS}_)?{COUNTS}", name.lower()))


def roles(names: Iterable[str]) -> dict[str, str]:
    """The first argument of each role, by role."""
    found: dict[str, str] = {}
    for name in names:
        if (known := role(name)) is not None:
            found.setdefault(known, name)
    return found


KEYS = r"_?(k|kv|key|keys)"
PACKED_SPELLINGS = {
    "starts": SPELLINGS["documents"],
    "starts_of_keys": rf"cu_?seq_?lens?{KEYS}",
    "longest": r"max_?(seq_?)?len(gth)?s?(_?(q|query|queries))?",
    "longest_of_keys": rf"max_?(seq_?)?len(gth)?s?{KEYS}",
}
"""How arguments are called that tell documents which are packed one after the other."""


SEGMENTS_OF_KEYS = rf"(k|kv|key|keys)_{IDS}|{IDS}{KEYS}"
"""How the segments of keys are called where those of queries have an argument of their own."""


def packed_role(name: str) -> str | None:
    """A key of `PACKED_SPELLINGS`, or None."""
    plain = name.lower()
    return next((r for r, known in PACKED_SPELLINGS.items() if re.fullmatch(known, plain)), None)


def seed_of(name: str) -> bool:
    """Whether an argument says by which random numbers weights are dropped."""
    return bool(re.fullmatch(r"((dropout|rng|random|philox)_?)?seed", name.lower()))
