"""Faults of splitting, merging and concatenating heads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainWrapper

SPLIT = "heads/split-equals-per-head-matmul"
ALONE = "heads/head-isolation"
ORDER = "heads/permuting-heads-permutes-blocks"
OWN = "heads/heads-have-their-own-weights"
ONE = "heads/one-head-equals-causal"
ARRANGED = "heads/wrapper-equals-multihead-with-identity-projection"
CONCATENATED = "heads/wrapper-concatenates-in-order"
VALUE = "oracle/output-within-bound"


@fault(
    "view-without-transpose",
    SPLIT,
    "causality/future-does-not-change-past",
    ARRANGED,
    symptom="heads are made of other tokens' columns; training still converges",
    source="hyunwoongko/transformer 391c9cd",
)
class ViewWithoutTranspose(PlainMultiHead):
    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], self.num_heads, x.shape[1], self.head_dim)


@fault(
    "merge-without-transpose",
    SPLIT,
    "causality/future-does-not-change-past",
    ARRANGED,
    symptom="tokens and heads are mixed in the output",
    source="jsbaan/transformer-from-scratch#6",
)
class MergeWithoutTranspose(PlainMultiHead):
    def merge(self, context: Tensor) -> Tensor:
        batch, heads, tokens, head_dim = context.shape
        return context.reshape(batch, tokens, heads * head_dim)


@fault(
    "num-heads-ignored",
    "argument/num-heads-has-effect",
    SPLIT,
    symptom="the argument is accepted; one head as wide as all of them does the work",
)
class NumHeadsIgnored(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.num_heads, self.head_dim = 1, self.d_out


@fault(
    "keys-viewed-as-transposed",
    "causality/future-does-not-change-past",
    ONE,
    symptom="a view was used where a transpose was meant: keys of several tokens are mixed",
    source="hyunwoongko/transformer 391c9cd",
)
class KeysViewedAsTransposed(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        batch, heads, tokens, head_dim = keys.shape
        return queries @ keys.reshape(batch, heads, head_dim, tokens)


@fault(
    "attention-over-heads",
    SPLIT,
    symptom="a kernel that wants (B, T, H, D) was given (B, H, T, D): heads attend to each other",
    source="allenai/OLMo 2f70619",
)
class AttentionOverHeads(PlainMultiHead):
    def split(self, x: Tensor) -> Tensor:
        return super().split(x).transpose(1, 2)

    def merge(self, context: Tensor) -> Tensor:
        return context.flatten(2)

    def hidden(self, tokens: int) -> Tensor:
        return torch.ones(tokens, tokens, dtype=torch.bool).triu(diagonal=1)


@fault(
    "heads-interleaved",
    ARRANGED,
    ALONE,
    SPLIT,
    symptom="head h takes every H-th column: checkpoints of others do not fit",
)
class HeadsInterleaved(PlainMultiHead):
    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.head_dim, self.num_heads).permute(0, 3, 1, 2)

    def merge(self, context: Tensor) -> Tensor:
        return context.permute(0, 2, 3, 1).flatten(2)


@fault(
    "heads-interleaved-by-the-merge",
    SPLIT,
    ALONE,
    symptom="the output projection learns another order of columns; transferred weights fail",
    source="huggingface/pytorch-image-models b81e79a",
)
class HeadsInterleavedByTheMerge(PlainMultiHead):
    def merge(self, context: Tensor) -> Tensor:
        return context.permute(0, 2, 3, 1).flatten(2)


@fault(
    "heads-reversed-by-the-merge",
    SPLIT,
    ALONE,
    symptom="head 0's columns come last",
)
class HeadsReversedByTheMerge(PlainMultiHead):
    def merge(self, context: Tensor) -> Tensor:
        return super().merge(context.flip(1))


@fault(
    "batch-and-heads-mixed-by-the-merge",
    SPLIT,
    symptom="heads lie first, and the merge takes them for batch items",
    source="gazelle93/Transformer-Various-Positional-Encoding#1",
)
class BatchAndHeadsMixedByTheMerge(PlainMultiHead):
    def merge(self, context: Tensor) -> Tensor:
        return super().merge(context.transpose(0, 1).reshape(context.shape))


@fault(
    "heads-averaged",
    ALONE,
    OWN,
    VALUE,
    symptom="every head's columns hold the mean of all heads",
)
class HeadsAveraged(PlainMultiHead):
    def merge(self, context: Tensor) -> Tensor:
        return super().merge(context.mean(dim=1, keepdim=True).expand_as(context))


@fault(
    "heads-talk",
    ALONE,
    VALUE,
    symptom="a mixing of the heads' weights was left in",
    source="lucidrains/x-transformers 6cb3299 (talking heads)",
)
class HeadsTalk(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        weights = super().normalise(scores)
        return 0.9 * weights + 0.1 * weights.roll(1, dims=1)


@fault(
    "heads-talk-in-the-backward-pass",
    "heads/head-isolation-in-gradients",
    symptom="the output is right; each head trains on its neighbour's gradient",
    source="huggingface/diffusers#14341 (heads and tokens swapped in a backward pass)",
)
class HeadsTalkInTheBackwardPass(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        context = super().mix(weights, values)
        neighbour = context.roll(1, dims=1)
        return context + (neighbour - neighbour.detach()) / self.num_heads


@fault(
    "heads-share-the-queries-of-the-first",
    OWN,
    SPLIT,
    symptom="one projection serves all heads; the other columns never train",
    source="MarcoMeter/episodic-transformer-memory-ppo#22",
)
class HeadsShareTheQueriesOfTheFirst(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return super().score(queries[:, :1].expand_as(queries), keys)


@fault(
    "heads-share-keys-and-values",
    SPLIT,
    OWN,
    symptom="all query heads read the first head's keys and values",
    source="PSAL-POSTECH/ONNXim#34",
)
class HeadsShareKeysAndValues(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        return super().score(queries, keys[:, :1].expand_as(keys))

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return super().mix(weights, values[:, :1].expand_as(values))


@fault(
    "values-are-keys",
    OWN,
    "causality/first-token-returns-its-own-value",
    symptom="one line copied and not changed: W_value never trains",
    source="meta-pytorch/torchtune 8994e7a (#21)",
)
class ValuesAreKeys(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, _ = super().project(x)
        return queries, keys, keys


@fault(
    "keys-are-queries",
    OWN,
    VALUE,
    symptom="one line copied and not changed: W_key never trains, scores are symmetric",
    source="huggingface/diffusers#13533 b9d6420 (the queries' norm applied to the keys)",
)
class KeysAreQueries(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, _, values = super().project(x)
        return queries, queries, values


@fault(
    "queries-and-keys-swapped",
    "weights/log-odds-are-scaled-score-differences",
    symptom="token i looks at j as much as j should look at i",
    source="karpathy/llm.c#531 (discussed, and no bug there)",
)
class QueriesAndKeysSwapped(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = super().project(x)
        return keys, queries, values


@fault(
    "last-odd-head-dropped",
    OWN,
    ORDER,
    VALUE,
    symptom="heads are computed in pairs; a last one without a partner stays zero",
    source="huggingface/diffusers#8836 3b04cdc (a remainder dropped by a loop over slices)",
)
class LastOddHeadDropped(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        context = super().mix(weights, values)
        if self.num_heads % 2:
            context[:, -1] = 0.0
        return context


@fault(
    "last-head-sees-one-token-less",
    ORDER,
    VALUE,
    symptom="an index runs one too far back in the last head alone",
)
class LastHeadSeesOneTokenLess(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        masked = super().hide(scores).clone()
        if self.num_heads > 1 and scores.shape[-1] > 1:
            masked[:, -1, 1:, 0] = -torch.inf
        return masked


@fault(
    "single-head-not-masked",
    ONE,
    VALUE,
    symptom="a shortcut for H = 1 leaves the mask out",
)
class SingleHeadNotMasked(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores if self.num_heads == 1 else super().hide(scores)


@fault(
    "single-head-not-projected",
    "projection/out-projection-applied-once",
    symptom="a shortcut for H = 1 leaves the output projection out",
    source="lucidrains/vit-pytorch (project_out is off for one head as wide as the input)",
)
class SingleHeadNotProjected(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        return context if self.num_heads == 1 else super().finish(context)


@fault(
    "head-dim-from-the-input",
    "shape/output-shape",
    symptom="right where d_in = d_out, a reshape error everywhere else",
    source="huggingface/diffusers#4154 930c8fd, huggingface/diffusers#563 84616b5",
)
class HeadDimFromTheInput(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.head_dim = self.d_in // self.num_heads


@fault(
    "wrapper-reverses-heads",
    CONCATENATED,
    ARRANGED,
    symptom="head 0's columns come last",
    family="wrapper",
)
class WrapperReversesHeads(PlainWrapper):
    def join(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts[::-1], dim=-1)


@fault(
    "wrapper-sums-heads",
    "heads/wrapper-width",
    "shape/output-shape",
    symptom="the output is d_out wide, not d_out * H",
    family="wrapper",
)
class WrapperSumsHeads(PlainWrapper):
    def join(self, parts: list[Tensor]) -> Tensor:
        return torch.stack(parts).sum(dim=0)


@fault(
    "wrapper-concatenates-tokens",
    "shape/output-shape",
    "heads/wrapper-width",
    symptom="heads follow each other along the tokens: H times as many tokens come out",
    source="meta-pytorch/opacus#825",
    family="wrapper",
)
class WrapperConcatenatesTokens(PlainWrapper):
    def join(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, dim=1)


@fault(
    "wrapper-interleaves-heads",
    ARRANGED,
    ALONE,
    CONCATENATED,
    symptom="the heads' columns take turns",
    family="wrapper",
)
class WrapperInterleavesHeads(PlainWrapper):
    def join(self, parts: list[Tensor]) -> Tensor:
        return torch.stack(parts, dim=-1).flatten(2)


@fault(
    "wrapper-repeats-the-first-head",
    OWN,
    CONCATENATED,
    symptom="a loop variable was not used",
    family="wrapper",
)
class WrapperRepeatsTheFirstHead(PlainWrapper):
    def join(self, parts: list[Tensor]) -> Tensor:
        return torch.cat([parts[0] for _ in parts], dim=-1)


@fault(
    "wrapper-heads-are-one-module",
    OWN,
    symptom="[head] * H: one head, H times, and a fraction of the parameters",
    family="wrapper",
)
class WrapperHeadsAreOneModule(PlainWrapper):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.heads = nn.ModuleList([self.heads[0]] * len(self.heads))


@fault(
    "wrapper-adds-up-as-it-goes",
    CONCATENATED,
    symptom="each head's output is added to the next one's",
    family="wrapper",
)
class WrapperAddsUp(PlainWrapper):
    def join(self, parts: list[Tensor]) -> Tensor:
        return torch.cat([sum(parts[: n + 1], parts[0] * 0.0) for n in range(len(parts))], dim=-1)


@fault(
    "wrapper-trains-its-heads-on-the-sum",
    "heads/head-isolation-in-gradients",
    symptom="the output is right; every head gets the gradient of all heads",
    family="wrapper",
)
class WrapperTrainsItsHeadsOnTheSum(PlainWrapper):
    def join(self, parts: list[Tensor]) -> Tensor:
        total = torch.stack(parts).sum(dim=0)
        return torch.cat([part + (total - total.detach()) for part in parts], dim=-1)


class UnmaskedHead(PlainCausal):
    """A head that sees the future."""

    def hide(self, scores: Tensor) -> Tensor:
        return scores


@fault(
    "wrapper-masks-all-heads-but-the-last",
    ORDER,
    "weights/hidden-exactly-zero",
    VALUE,
    symptom="the last head was made by another line of code",
    family="wrapper",
)
class WrapperMasksAllHeadsButTheLast(PlainWrapper):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if len(self.heads) > 1:
            self.heads[-1].__class__ = UnmaskedHead
