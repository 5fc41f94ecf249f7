"""What is told of a fault beside its name: of which kind it is, what it does, where it was met in public.

The words and sources of the wrong implementations in `zoo/wide` serve where one has the name; else those
of the wrong step itself, and the sources here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from properties.findings.names.calls.catalogue import catalogue
from properties.vectors.wrong import steps
from properties.zoo.wide import held_ones

KINDS = {
    "polarity": "True |padding on the other side|dropout turned over|distance rewarded|bias subtracted"
    "|causal shows the future alone",
    "alignment": "corner of|.*from the (top left|bottom right)|backward pass (assumes|shows)",
    "cache": ".*cache|cached |the present before|past forgotten|values of another token",
    "position": ".*position|.*rotat|.*angles|.*pairs of|.*cosine|.*base|start of (keys|queries)"
    "|all columns|distance penalt",
    "formula": "scores (ignored|negated|without|divided)|sigmoid|logarithms|powers of two|one more"
    "|weights multiplied|mean of all|largest share|output divided|values (rectified|added)"
    "|queries (normalised|and keys clipped)|scores (capped|rectified)|temperature|keys (through|and a)"
    "|values clipped|a (tenth|thousandth|hundredth)|only the best|window of 8|first key evicted"
    "|output times|twice the output",
    "dropout": ".*dropout|survivors|dropped weights",
    "off by one": "causal (shows|hides)|window (keeps|counts|begins|ends)"
    "|a whole tile|one key within|all but|.*start one token late|(first|last) key"
    "|keys beyond|last (column|head forgets)|first (column|item reads)",
    "groups": ".*group|head divided|queries of a group",
    "scale": "scale|cap|slope|softmax without its mean|.*scale|sink|bias added twice",
    "numerics": "fill of -1e9 over|least number|softmax without|tiles|LSE without|bias rounded"
    "|a row that sees|NaN|one maximum|maximum of zero|softmax in"
    "|scores clamped|(values|weights) rounded",
    "leak": ".*ignored|.*leaks|documents see|causal (where|counts|replaces|in|mask)|mean over the items"
    "|(mask|padding) (replaces|after|skipped|lost)|a hidden score|padding keys|window (replaces|of 0)"
    "|LSE before|weights before|last document|empty documents|documents of one|starts of queries|mask added"
    "|an eighth of|threshold of|bias read|as many keys|right side|left side|sides of|backward pass without",
    "layout": ".*",
}
"""The first kind whose pattern a name begins with."""

KNOWN_AS = {
    "True hides beside the causal flag": "True hides",
    "True attends in the padding mask": "True is padding",
    "asking for the LSE changes the result": "window ignored",
    "bias of the padding mask ignored": "bias ignored",
    "bias read as boolean in eval": "bias read as boolean",
    "causal across sequences": "causal where nothing is hidden",
    "causal beside a mask": "causal where nothing is hidden",
    "causal beside a mask alone": "causal ignored",
    "causal corner changes": "causal from the bottom right",
    "causal corner changes beside a mask": "causal from the bottom right",
    "causal corner changes with more queries than keys": "causal from the bottom right",
    "causal corner changes with the number of queries": "causal from the bottom right",
    "causal ignored where keys and queries differ in number": "causal ignored",
    "causal shows the next token where there is a context": "causal shows the next token",
    "context of the first item for all": "keys and values of the first item for all",
    "mask ignored in eval": "mask ignored",
    "mask ignored where there is a context": "mask ignored",
    "mask lost where no weights are wanted": "mask ignored",
    "weights of the first head for the average": "weights of the first head for all",
}
"""Names of wrong implementations that hold under a condition, or of modules, and who shows them."""

SEVERAL_CALLS = "shows in a second call alone"
OF_MODULES = "is about what a module makes queries, keys and values of"
BESIDE_A_CACHE = "is about a mask of pairs beside a cache, which no vector has"
OF_LAYERS = "is about two layers that share a cache"
OF_CONTEXTS = "is about a context that is kept from call to call"
OF_PADDING = "is about numbers in a mask of keys, which the vectors hand over as booleans"
NOT_SHOWN = {
    "numbers in the padding mask read as booleans": OF_PADDING,
    "only minus infinity in the padding mask acts": OF_PADDING,
    "cache keeps the first chunk alone": SEVERAL_CALLS,
    "cache used unasked": SEVERAL_CALLS,
    "context of an earlier call": SEVERAL_CALLS,
    "keys of an earlier sequence": SEVERAL_CALLS,
    "every layer reads the keys of the first": OF_LAYERS,
    "every layer writes to one place of the cache": OF_LAYERS,
    "context appended at every call": OF_CONTEXTS,
    "kept context of the first item for all": OF_CONTEXTS,
    "kept context outlives a reset": OF_CONTEXTS,
    "kept context used unasked": OF_CONTEXTS,
    "keys of x beside the kept context": OF_CONTEXTS,
    "mask of the context ignored beside what is kept": OF_CONTEXTS,
    "mask ignored beside a past": BESIDE_A_CACHE,
    "mask kept in the buffer": SEVERAL_CALLS,
    "mask of the new tokens alone beside a past": BESIDE_A_CACHE,
    "mask of the new tokens on the first keys beside a past": BESIDE_A_CACHE,
    "True and False of the mask exchanged beside a past": BESIDE_A_CACHE,
    "mask of an earlier call": SEVERAL_CALLS,
    "past written to": SEVERAL_CALLS,
    "reset forgets nothing": SEVERAL_CALLS,
    "mask written to": "changes what the caller holds, and no number that is returned",
    "query written to": "changes what the caller holds, and no number that is returned",
    "context ignored": OF_MODULES,
    "queries from the context": OF_MODULES,
    "values from the queries' source": OF_MODULES,
    "x attends to itself beside the context": OF_MODULES,
    "mask of the queries on the keys": OF_MODULES,
    "context viewed with the length of queries": "needs twice as many keys as queries, and sizes are prime",
    "weights summed over heads": "is about an average over heads, which the vectors do not ask for",
}
"""Names of wrong implementations that no vector shows, and why."""

PUBLIC = {
    "a hidden score is zero": "EleutherAI/gpt-neox 102d09b, hyunwoongko/transformer 9c5515d,"
    " georg-wolflein/good-features#1",
    "another base": "huggingface/transformers#39687",
    "a tenth of the weights of the head before": "lucidrains/x-transformers 6cb3299",
    "attends over the heads": "allenai/OLMo 2f70619",
    "attends over the items": "aipixel/AEMatter#3, mlfoundations/open_clip 6a5068e",
    "backward pass assumes causal": "triton-lang/triton#5660",
    "causal hides oneself": "RVC-Boss/GPT-SoVITS#965",
    "causal ignored": "pytorch/pytorch#96941, facebookresearch/xformers#103",
    "causal in the first item alone": "lsdefine/attention-is-all-you-need-keras#36",
    "causal mask added as a number": "bentrevett/pytorch-seq2seq#191",
    "causal mask added as ones": "pytorch/pytorch#90534",
    "causal shows the future alone": "rasbt/LLMs-from-scratch#1061, allenai/OLMo 6c4b8e1",
    "dropout applied twice": "facebookresearch/xformers#301",
    "dropout ignored": "zhouhaoyi/Informer2020#97, facebookresearch/xformers#123",
    "dropout on the scores": "PaddlePaddle/Parakeet#74",
    "first key evicted after 10 tokens": "rasbt/LLMs-from-scratch#1013",
    "heads merged without a transpose": "jsbaan/transformer-from-scratch#6",
    "heads take turns in the output": "huggingface/pytorch-image-models b81e79a",
    "keys beyond the last whole tile forgotten": "huggingface/diffusers#8836",
    "keys from the queries": "huggingface/diffusers#13533",
    "keys viewed as their transpose": "hyunwoongko/transformer 391c9cd, pytorch/pytorch#195320",
    "last head left zero": "huggingface/diffusers#8836",
    "last item left zero": "pytorch/pytorch#139462, pytorch/pytorch#153799, huggingface/diffusers#8836",
    "mask after the softmax": "huggingface/pytorch-image-models#2236",
    "mask ignored past key 512": "vllm-project/vllm-ascend#15503",
    "one draw of dropout for all queries": "NVIDIA/TransformerEngine#227",
    "queries of the first head for all": "MarcoMeter/episodic-transformer-memory-ppo#22",
    "query heads of an item exchanged with items": "gazelle93/Transformer-Various-Positional-Encoding#1",
    "scale 1/sqrt(all columns)": "hyunwoongko/transformer ee92100, lucidrains/vit-pytorch#65",
    "scale 1/sqrt(heads)": "tenstorrent/tt-metal#56789",
    "scale inverted": "esceptico/perceiver-io#9",
    "scale of 64 columns": "pytorch/pytorch#174049",
    "softmax in bfloat16": "google/flax#4008",
    "softmax over the heads": "hyunwoongko/transformer 391c9cd, allenai/document-qa#48",
    "survivors multiplied by 1 - p": "NVIDIA/apex#816",
    "the other pairs of columns": "karpathy/nanochat#264",
    "threshold of the best 3 before the mask": "lucidrains/x-transformers d1f5d6b",
    "upstream gradient read in another layout": "Dao-AILab/flash-attention#355",
    "weights of the first item for all": "ml-explore/mlx#3498",
    "window of 8 left on": "huggingface/transformers#29623",
    "window ignored": "unslothai/unsloth#8253",
}
"""Where faults were met that no wrong implementation names, or which of these name no source."""

EFFECTS = {
    "a hidden score is zero": "A hidden key has a score like others.",
    "angles in float16": "Near tokens are told apart, far ones are not: angles keep eleven bits.",
    "all columns rotated": "Columns that should stay are turned with the others.",
    "another base": "Slow pairs of columns turn too slowly.",
    "bias added twice": "What is favoured is favoured doubly.",
    "bias of the first head for all": "One head's bias serves all heads.",
    "bias of the first item for all": "One item's bias serves all items.",
    "bias of the first query for all": "One query's bias serves all queries.",
    "causal from the bottom right": "The first query sees the keys before it, which are not its past.",
    "cap after the mask": "Minus infinity is capped, too: what is hidden has a weight of exp(-c).",
    "columns that stay rotated back": "Columns that should stay are turned the other way.",
    "dropout applied twice": "What is left is multiplied twice.",
    "first head alone rotated": "Right with one head: the others know no positions.",
    "first group for all heads": "All but the first head of keys and values are never read.",
    "fill of -1e2 leaks": "A hidden key has a score of -100 and not of minus infinity.",
    "fill of -1e3 leaks": "A hidden key has a score of -1e3 and not of minus infinity.",
    "fill of -1e5 leaks": "A hidden key has a score of -1e5 and not of minus infinity.",
    "fill of -1e6 leaks": "A hidden key has a score of -1e6 and not of minus infinity.",
    "fill of -1e9 leaks": "A row that sees nothing is spread over keys, as with any finite number.",
    "keys and values of the first item for all": "The other items' are never read.",
    "last item not rotated": "The last item of a batch is left as it is.",
    "left side of the window ignored": "All of the past is seen.",
    "left side of the window used for both": "As many keys are seen after as before.",
    "mask of the first head for all": "One head's mask serves all heads.",
    "mask replaces the window": "Beside a mask the window is forgotten.",
    "one draw of dropout for all heads": "Heads lose the same weights.",
    "one draw of dropout for all items": "Items lose the same weights.",
    "one draw of dropout for all queries": "Queries lose the same keys.",
    "padding ignored": "Padding takes part.",
    "past forgotten": "Each call sees what it was given and nothing before.",
    "positions multiplied by the number of the head": "Each head turns as many times faster.",
    "queries not rotated": "Scores depend on where a key stands, and not on the distance.",
    "scale 1/D": "The scale is applied twice, or without its root: weights are blunt.",
    "scale 1/sqrt(all columns)": "The root of the width of all heads: weights are blunt.",
    "scale 1/sqrt(heads)": "The root of another axis.",
    "scale absent": "Nothing is divided: weights are sharp, the more the wider a head is.",
    "scale by the padded head_dim": "Columns that fill a tile are counted.",
    "scale divides": "A given scale is taken for a divisor.",
    "scale inverted": "Multiplied by the root for divided: one key takes all.",
    "scale multiplies the mask, too": "A bias joins the scores before they are scaled.",
    "start of keys alone": "Right from position 0; with an offset the queries stay where they were.",
    "survivors divided by p": "What is left is too large or too small, unless p is a half.",
    "survivors multiplied by 1 - p": "The mean is too small.",
    "survivors not scaled": "The mean is too small, and evaluation differs from training.",
    "the other pairs of columns": "Halves for neighbours, or neighbours for halves.",
    "tiles not rescaled": "Each tile of keys has a maximum of its own, and sums are joined as they are.",
    "weights of the first head for all": "Every head returns the first one's weights.",
    "window from the bottom right": "The window lies at the end of the keys.",
    "window replaces the mask": "Beside a window the mask is forgotten.",
    "scale missing in the backward pass": "Queries and keys learn too fast by the root of head_dim.",
    "causal ignored": "The future is seen.",
    "cap missing in the backward pass": "The slope of tanh is taken for one.",
    "softmax without its mean in the backward pass": "The weights are taken for independent of each other.",
    "backward pass assumes causal": "The gradient of a call that sees the future hides it.",
    "backward pass shows the future": "The gradient of a causal call is that of one that sees everything.",
    "backward pass without the mask": "The gradient is that of a call without a mask.",
    "upstream gradient read in another layout": "(B, T, H, E) is read where (B, H, T, E) is stored.",
}


@dataclass(frozen=True)
class Note:
    """Of one flag."""

    name: str
    kind: str
    effect: str
    sources: tuple[str, ...]


def flag_of(name: str) -> str:
    """A name as one word."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def kind_of(name: str) -> str:
    """The first kind whose pattern fits."""
    return next(kind for kind, pattern in KINDS.items() if re.match(pattern, name))


@cache
def note(name: str) -> Note:
    """What is known of a fault of this name."""
    same = [h for h in held_ones().values() if KNOWN_AS.get(h.named, h.named) == name]
    named = [h for h in same if h.named == name]
    told = [h.symptom for h in sorted(named, key=lambda h: h.kind == "cross")]  # contexts last
    effect = EFFECTS.get(name) or (told[0] if told else effects()[name])
    sources = [s.strip() for h in same for s in h.source.split(",") if h.source != "constructed"]
    sources += [s.strip() for s in PUBLIC.get(name, "").split(",") if s]
    return Note(name, kind_of(name), sentence(effect), tuple(map(address, dict.fromkeys(sources))))


@cache
def effects() -> dict[str, str]:
    """What each wrong step says of itself, by its name; the first one that says anything, else
    where to look for it.
    """
    found: dict[str, str] = {}
    entries = [(f.called, f.asks.__doc__ if f.asks.__doc__ else "") for f in catalogue()]
    given = [(f.called, f.gives.__doc__ or "") for f in catalogue()]
    own = [(step.called, step.gives.__doc__ or "") for step in steps()]
    looks = [(f.called, f"Look for {f.look}") for f in catalogue()]
    for name, words in (*own, *entries, *given, *looks):
        if words and words not in ("What was asked is answered.", "What is right is returned."):
            found.setdefault(name, " ".join(words.split()))
    return found


def sentence(words: str) -> str:
    """With a capital letter and a full stop."""
    return words[:1].upper() + words[1:].rstrip(".") + "."


def address(source: str) -> str:
    """A link where the source is an issue or a commit on GitHub."""
    if issue := re.fullmatch(r"([\w.-]+/[\w.-]+)#(\d+)", source):
        return f"https://github.com/{issue[1]}/issues/{issue[2]}"
    if commit := re.fullmatch(r"([\w.-]+/[\w.-]+) ([0-9a-f]{7,40})", source):
        return f"https://github.com/{commit[1]}/commit/{commit[2]}"
    return source
