"""What the names of arguments and parameters in public code mean.

Names are compared without case and underscores, in any order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache

from properties.recognition.adapters.argument_names import ARGUMENTS, REQUIRED


def by_spelling(table: Mapping[str, str]) -> dict[str, str]:
    """The role of each spelling, without underscores."""
    return {
        spelling.replace("_", ""): role
        for role, spellings in table.items()
        for spelling in spellings.split()
    }


ROLE_OF, REQUIRED_ROLE_OF = by_spelling(ARGUMENTS), by_spelling(REQUIRED)

# Of a class whose forward takes a context: the width of that.
CONTEXT_WIDTHS = """d_context context_dim dim_context context_width context_features context_embed_dim
    context_emb_dim context_channels d_cond cond_dim d_cross cross_dim cross_attention_dim
    cross_attn_dim cross_embed_dim dim_cross kv_dim dim_kv d_kv kdim key_value_dim d_encoder encoder_dim
    d_enc enc_dim dim_encoder encoder_hidden_size encoder_hidden_dim encoder_embed_dim d_memory
    memory_dim mem_dim d_mem source_dim d_source text_dim text_embed_dim d_text context_in_dim
    d_in_context d_in_kv kv_in_dim"""

# Where attention is called local: of its blocks, of which a token sees its own and perhaps others.
LOCAL = re.compile(r"local|block_?wise|windowed|sliding|banded|chunk|bucket", re.IGNORECASE)
BLOCK = re.compile(r"(block|chunk|bucket)_?(size|len|length)", re.IGNORECASE)

CAP = "a bound on the scores"
WINDOW = "how far back a query sees"
LEARNED = "how many learned keys and values come before those of the tokens"
NARROW = "by how much heads are narrower than tokens"

# What attention may be told besides: arguments that are known, and not asked about.
MEANINGS = {
    "how many of the first tokens all may see": r"^prefix_?len(gth)?s?$",
    "how long the longest document is": r"^max_?seq_?lens?(_[qk]v?)?$",
    "which keys are padding": r"padding|pad_mask|lengths?$|lens?$|cu_?seq|ragged|nested",
    "which keys a query sees": r"mask",
    "which segment each token is in": r"(segment|sequence|document|^doc|^seq|_seq|_doc)_?ids?(_[a-z]+)?$",
    "whether the future is hidden": r"causal",
    "keys and values of another layer": r"shared_?(kv|keys?|values?)|(kv|keys?|values?)_?shared",
    "keys and values of earlier tokens": r"cache|past|prefix|state$|start_pos|offset",
    LEARNED: r"(num|n)_?(mem|memory|null|persistent|register)_?(kv|key|token)s?$|^mem_?kv$",
    "other tokens to attend to": (
        r"context$|encoder|cross|memor|^(key|value|query|kv|k|v|q|y|z|source|ctx|cond)s?$"
    ),
    "whether the weights are returned, too": r"(need|return|output|average|with)_?\w*(weight|att)",
    "what the scores are multiplied by": r"scal|temperature|^tau$",
    "fewer heads of keys than of queries": r"gqa|kv_heads|kv_head$|kv_groups|query_groups|mqa",
    "positions": r"rope|rotary|rotat|freqs|^(cos|sin)$|alibi|position|^pos|_pos$|\bpe$|rel_?pos|theta",
    "numbers added to the scores": r"(attn|attention|score|rel|logit)s?_?bias",
    WINDOW: r"window|sliding|local",
    CAP: r"soft_?cap|logit.*cap|clip|clamp",
    NARROW: r"(down_?sampl\w*|reduction|squeeze|bottleneck)_?(rate|ratio|factor)",
    "a norm of queries and keys": r"qk_?norm|norm",
    "an entry added to keys and values": r"add_zero|bias_kv|sink|null_kv",
    "which kernel computes it": r"flash|fused|sdpa|kernel|backend|implementation|_impl$|efficient",
}


@cache
def meaning(name: str) -> str:
    """What attention calls by an argument's name that no role of ours has; "" for nothing known."""
    plain = name.lower()
    return next((text for text, known in MEANINGS.items() if re.search(known, plain)), "")


def is_block(name: str, target: object) -> bool:
    """Whether an argument of a class, by their names, says how many tokens are in a block."""
    called = getattr(target, "__name__", "")
    return bool(BLOCK.fullmatch(name) and LOCAL.search(called))


@cache
def is_context_width(name: str) -> bool:
    """Whether an argument of such a class is called like the width of a context."""
    return normalise(name) in normalise(CONTEXT_WIDTHS).split()


# A matrix of heads by heads, which mixes their scores or weights.
MIXING = r"(^|[._])(mix_?heads?|talk(ing)?_?heads?|re_?att(entio)?n_?weights?)"
INPUT = re.compile(
    r"(x|xs|inp|inputs?|input_?(tensor|seq|sequence|vectors|embeddings|embeds|data|tokens)|embeds|"
    r"embeddings|tokens?|token_?embeddings|seq|sequence|hidden_?states?|batch|tensor|vectors|src|"
    r"words?|data)",
    re.IGNORECASE,
)
MASK = re.compile(r"mask|causal", re.IGNORECASE)


def normalise(name: str) -> str:
    """The name without underscores, in lower case."""
    return name.replace("_", "").lower()


@cache
def argument_role(name: str) -> str | None:
    """What an argument called `name` stands for, a key of `ARGUMENTS`, or None."""
    return ROLE_OF.get(normalise(name))


def required_role(name: str) -> str | None:
    """What an argument called `name` stands for where it is required, though it has no role elsewhere."""
    return REQUIRED_ROLE_OF.get(normalise(name)) or misspelt_role(name)


def misspelt_role(name: str) -> str | None:
    """What `name` may stand for if one letter or two are wrong in it ("droupout"), or None."""
    if len(name) < 6 or "keep" in name:  # short names resemble too much, and opposites
        return None
    near = get_close_matches(normalise(name), ROLE_OF, n=3, cutoff=0.88)
    roles = {ROLE_OF[spelling] for spelling in near}
    return roles.pop() if len(roles) == 1 else None


# A parameter's name is a core (query, q, queries) among words that say that it is a matrix.
AFFIX = (
    r"(?:w|weights?|proj(?:ection|ector)?s?|lin(?:ear)?s?|layers?|to|fcs?|mat(?:rix|rices)?|dense|"
    r"attn|attention|att|self|trainable|learned|c|l|map(?:ping)?|net|nn|params?|parameters?|"
    r"conv(?:olution)?(?:[12]d|1x1)?|transform(?:ation)?|embed(?:ding)?s?|heads?|multihead|in|for|all|vec(?:tor)?s?|tensors?|states?)*"
)
CORES = {
    "query": r"(?:q|qs|qry|quer(?:y|ys|ies))",
    "key": r"(?:k|ks|keys?)",
    "value": r"(?:v|vs|vals?|values?)",
    "out": r"(?:o|outs?|outputs?|final|merge[dr]?|combine[dr]?|unify|concat|mix(?:er)?|result|"
    r"context|ctx)",
}
PARAMETERS = {role: re.compile(AFFIX + core + AFFIX) for role, core in CORES.items()}
PARAMETERS["out"] = re.compile(AFFIX + CORES["out"] + AFFIX + "|w0")
PROJECTION = re.compile(
    r"(?:c|w|heads?|layer|linear|last|fc|attn|attention)*"
    r"(?:proj(?:ection)?|linear|lin|fc|dense)(?:layer|weight)?"
)
LETTER = {"query": "q", "key": "k", "value": "v"}
PART = "|".join(CORES[role] for role in LETTER)
FUSED = re.compile(f"{AFFIX}((?:{PART}){{2,3}}){AFFIX}")
FUSED_NAMES = {"cattn", "inproj", "inprojweight", "inprojection", "attn", "wpack", "combinedproj"}


LETTERS = r"(qkv|kv|q|k|v|quer(?:y|ies)|keys?|values?)"
BEHIND = r"(?:proj(?:ection)?|linear|layer)*(?:withmqa)?"
DOWN = re.compile(
    rf"(?:w|to)?(?:d|down|compress){LETTERS}{BEHIND}|w?{LETTERS}(?:down|compress|latent|a(?=proj)){BEHIND}|"
    rf"(?:w|to)?(?:down|latent){BEHIND}"
)
UP = re.compile(
    rf"(?:w|to)?(?:u|up|decompress){LETTERS}{BEHIND}|w?{LETTERS}(?:up|decompress|b(?=proj)){BEHIND}"
)


def letters_in(pattern: re.Pattern[str], name: str, otherwise: str = "") -> str:
    """Which of q, k and v a name of such a layer says; "" for another name."""
    found = pattern.fullmatch(normalise(name))
    if found is None:
        return ""
    said = next(filter(None, found.groups()), otherwise)
    return said if set(said) <= set("qkv") else said[0]


@cache
def latent_of(name: str) -> str:
    """Which of q, k and v are made of the latent that a layer of this name makes: "kv" for `W_dkv`."""
    return letters_in(DOWN, name, "kv")


@cache
def made_of_latent(name: str) -> str:
    """Which of q, k and v a layer of this name makes of a latent: "k" for `W_uk`."""
    return letters_in(UP, name)


@cache
def parameter_role(name: str) -> str | None:
    """Which matrix `name` names: query, key, value or out; projection if it may be out; or None."""
    plain = normalise(name)
    if re.match(MIXING, plain):
        return None
    if role := next((r for r, letter in LETTER.items() if letter == made_of_latent(name)), ""):
        return role
    for role, pattern in PARAMETERS.items():
        if pattern.fullmatch(plain):
            return role
    return "projection" if PROJECTION.fullmatch(plain) else None


@cache
def bias_role(name: str) -> str | None:
    """Which matrix's bias `name` names ("b_q", "query_bias"), or None."""
    plain = normalise(name)
    rest = plain.replace("bias", "", 1) if "bias" in plain else plain.removeprefix("b")
    return parameter_role(rest) if rest != plain else None


@cache
def fused_order(name: str) -> str:
    """The order of the parts in one matrix for several: "kv" for `to_kv`; "" if it is not one."""
    plain = normalise(name).removesuffix("bias")
    if plain in FUSED_NAMES:
        return "qkv"
    if len(made_of_latent(plain)) > 1:
        return made_of_latent(plain)
    found = FUSED.fullmatch(plain)
    if found is None:
        return ""
    letters = "".join(part[0] for part in re.findall(PART, found[1]))
    return letters if len(set(letters)) == len(letters) else ""
