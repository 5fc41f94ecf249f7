"""Faults of refusal: numbers where there should be an error, and errors that do harm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.zoo.faults import fault
from properties.zoo.faults.plain import (
    PlainCausal,
    PlainMultiHead,
    PlainSelf,
    PlainSimplified,
    PlainWrapper,
)

TOKENS = "error/too-many-tokens"
RAISES = "error/too-many-tokens-raise"
COLUMNS = "error/wrong-d_in"
RANK = "error/wrong-rank"
HEADS = "error/indivisible-heads"
LOST = "error/indivisible-heads-lose-nothing"
DROPOUT = "error/dropout-out-of-range"
AT_ONCE = "error/dropout-out-of-range-at-construction"
TRACELESS = "error/refusing-changes-nothing"
NUMBERS = "error/messages-name-the-numbers"


@fault(
    "context-length-of-one-broadcasts",
    "error/context-of-one-token",
    symptom="with a 1 x 1 mask every sequence runs, and every token sees the future",
)
class ContextLengthOfOneBroadcasts(PlainMultiHead):
    def validate(self, x: Tensor) -> None:
        pass  # the mask's shape tells too many tokens from enough, except where it is 1 x 1


@fault("long-input-loses-its-start", TOKENS, symptom="fewer rows come out than tokens went in")
class LongInputLosesItsStart(PlainMultiHead):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, -self.context_length :])


@fault(
    "long-input-ends-in-zeros",
    TOKENS,
    symptom="rows beyond context_length are zero",
    family="causal",
)
class LongInputEndsInZeros(PlainCausal):
    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x[:, : self.context_length])
        return functional.pad(output, (0, 0, 0, x.shape[1] - output.shape[1]))


class Unlimited(PlainMultiHead):
    """Takes any number of tokens."""

    def validate(self, x: Tensor) -> None:
        super().validate(x[:, : self.context_length])


@fault(
    "tokens-beyond-the-mask-see-everything",
    TOKENS,
    symptom="beyond context_length nothing is hidden any more",
)
class TokensBeyondTheMaskSeeEverything(Unlimited):
    def hidden(self, tokens: int) -> Tensor:
        missing = tokens - min(tokens, self.context_length)
        return functional.pad(super().hidden(tokens), (0, missing, 0, missing))


@fault("mask-starts-over", TOKENS, symptom="beyond context_length the mask begins anew")
class MaskStartsOver(Unlimited):
    def hidden(self, tokens: int) -> Tensor:
        again = torch.arange(tokens) % self.context_length
        mask: Tensor = self.mask
        return mask[again][:, again]


@fault(
    "twice-the-context-is-taken-in-pieces",
    TOKENS,
    symptom="more than twice context_length is cut into pieces that do not see each other",
    family="causal",
)
class TwiceTheContextIsTakenInPieces(PlainCausal):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] <= 2 * self.context_length:
            return super().forward(x)
        pieces = torch.split(x, self.context_length, dim=1)
        return torch.cat([self.forward(piece) for piece in pieces], dim=1)


@fault(
    "context-length-ignored",
    RAISES,
    symptom="right on any length, though the rest of the model ends at context_length",
    source="rasbt/LLMs-from-scratch ch03 bonus (scaled_dot_product_attention, is_causal)",
)
class ContextLengthIgnored(Unlimited):
    def hidden(self, tokens: int) -> Tensor:
        return torch.ones(tokens, tokens, dtype=torch.bool).triu(diagonal=1)


@fault("columns-are-cut", COLUMNS, symptom="what a wider embedding says beyond d_in is lost")
class ColumnsAreCut(PlainMultiHead):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[..., : self.d_in])


@fault(
    "columns-are-filled-up",
    COLUMNS,
    symptom="a narrower embedding is taken, its missing columns zero",
    family="causal",
)
class ColumnsAreFilledUp(PlainCausal):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, (0, max(0, self.d_in - x.shape[-1]))))


@fault(
    "twice-the-columns-are-twice-the-tokens",
    COLUMNS,
    symptom="a reshape to d_in columns makes two tokens of each",
    family="self",
)
class TwiceTheColumnsAreTwiceTheTokens(PlainSelf):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] == 2 * self.d_in:
            x = x.reshape(*x.shape[:-2], -1, self.d_in)
        return super().forward(x)


@fault("one-column-is-repeated", COLUMNS, symptom="a last axis of length one broadcasts")
class OneColumnIsRepeated(PlainMultiHead):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.expand(-1, -1, self.d_in) if x.shape[-1] == 1 else x)


@fault(
    "two-axes-are-items-of-one-token",
    RANK,
    symptom="a sequence without a batch axis comes back with no token seeing another",
)
class TwoAxesAreItemsOfOneToken(PlainMultiHead):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, None] if x.dim() == 2 else x)


@fault("one-axis-is-one-token", RANK, symptom="a vector is attended to as one token", family="self")
class OneAxisIsOneToken(PlainSelf):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[None] if x.dim() == 1 else x)


@fault(
    "four-axes-join-items",
    RANK,
    symptom="of a batch of batches, items attend to the items before them",
    family="plain",
)
class FourAxesJoinItems(PlainSimplified):
    def forward(self, x: Tensor) -> Tensor:
        if x.dim() < 4:
            return super().forward(x)
        return super().forward(x.flatten(1, -2)).view(x.shape)


@fault(
    "softmax-over-a-counted-axis",
    RANK,
    symptom="right for one sequence, over the queries for a batch",
    source="PetrochukM/PyTorch-NLP#2",
    family="self",
)
class SoftmaxOverACountedAxis(PlainSelf):
    def normalise(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores, dim=1)


class AnyWidth(PlainMultiHead):
    """Takes a d_out that its heads do not divide; its projections are as wide as `divided` says."""

    def __init__(
        self,
        d_in: int,
        d_out: int,
        context_length: int,
        dropout: float,
        num_heads: int,
        qkv_bias: bool = False,
    ) -> None:
        width = self.divided(d_out, num_heads) * num_heads
        super().__init__(d_in, width, context_length, dropout, num_heads, qkv_bias)
        if width != d_out:
            self.out_proj = nn.Linear(width, d_out)

    @staticmethod
    def divided(d_out: int, num_heads: int) -> int:
        """head_dim."""
        raise NotImplementedError


@fault("head-dim-rounded-down", HEADS, symptom="heads are narrower than the model's sizes say")
class HeadDimRoundedDown(AnyWidth):
    @staticmethod
    def divided(d_out: int, num_heads: int) -> int:
        return d_out // num_heads


@fault(
    "indivisible-columns-are-left-out",
    HEADS,
    LOST,
    symptom="the output is narrower than d_out, and the next layer broadcasts or raises",
)
class IndivisibleColumnsAreLeftOut(PlainMultiHead):
    def __init__(
        self,
        d_in: int,
        d_out: int,
        context_length: int,
        dropout: float,
        num_heads: int,
        qkv_bias: bool = False,
    ) -> None:
        width = d_out // num_heads * num_heads
        super().__init__(d_in, width, context_length, dropout, num_heads, qkv_bias)


@fault("head-dim-rounded-up", HEADS, symptom="heads are wider than the model's sizes say")
class HeadDimRoundedUp(AnyWidth):
    @staticmethod
    def divided(d_out: int, num_heads: int) -> int:
        return -(-d_out // num_heads)


@fault(
    "heads-are-counted-at-the-first-call",
    HEADS,
    symptom="a model that cannot run is built, saved and sent to a device before it raises",
)
class HeadsAreCountedAtTheFirstCall(AnyWidth):
    @staticmethod
    def divided(d_out: int, num_heads: int) -> int:
        return d_out // num_heads

    def validate(self, x: Tensor) -> None:
        super().validate(x)
        if self.out_proj.out_features % self.num_heads:
            raise ValueError(f"{self.out_proj.out_features} columns, {self.num_heads} heads")


class OwnDropout(PlainMultiHead):
    """Keeps any p and drops by hand, as `kept` says."""

    def __init__(
        self,
        d_in: int,
        d_out: int,
        context_length: int,
        dropout: float,
        num_heads: int,
        qkv_bias: bool = False,
    ) -> None:
        super().__init__(d_in, d_out, context_length, 0.0, num_heads, qkv_bias)
        self.p = self.understood(dropout)

    def understood(self, dropout: float) -> float:
        """The p to use for the one given."""
        return dropout

    def drop(self, weights: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return weights
        if self.p == 1.0:
            return torch.zeros_like(weights)
        return weights * (torch.rand_like(weights) >= self.p) / (1.0 - self.p)


@fault("dropout-not-checked", DROPOUT, AT_ONCE, symptom="p = 1.5 trains on zeros, silently")
class DropoutNotChecked(OwnDropout):
    pass


@fault(
    "dropout-in-percent",
    DROPOUT,
    AT_ONCE,
    symptom="a p above 1 is taken for a percentage: 1.5 drops 1.5 of 100 weights",
)
class DropoutInPercent(OwnDropout):
    def understood(self, dropout: float) -> float:
        if dropout < 0 or dropout != dropout:
            raise ValueError(f"dropout {dropout}")
        return dropout / 100 if dropout > 1 else dropout


@fault(
    "dropout-above-one-drops-nothing",
    DROPOUT,
    AT_ONCE,
    symptom="a p above 1 is passed over in silence: the model trains without dropout",
)
class DropoutAboveOneDropsNothing(OwnDropout):
    def understood(self, dropout: float) -> float:
        if dropout < 0 or dropout != dropout:
            raise ValueError(f"dropout {dropout}")
        return 0.0 if dropout > 1 else dropout


@fault("dropout-clamped", DROPOUT, AT_ONCE, symptom="p = 1.5 is p = 1: nothing is learnt")
class DropoutClamped(OwnDropout):
    def understood(self, dropout: float) -> float:
        return min(max(dropout, 0.0), 1.0)


@fault(
    "negative-dropout-shrinks",
    DROPOUT,
    AT_ONCE,
    symptom="p = -0.1 drops nothing and divides every weight by 1.1",
)
class NegativeDropoutShrinks(OwnDropout):
    def understood(self, dropout: float) -> float:
        if dropout > 1 or dropout != dropout:
            raise ValueError(f"dropout {dropout}")
        return dropout


@fault(
    "nan-dropout-is-taken",
    DROPOUT,
    symptom="p = NaN passes `if p < 0 or p > 1` and makes every output NaN",
)
class NanDropoutIsTaken(OwnDropout):
    def understood(self, dropout: float) -> float:
        if dropout < 0 or dropout > 1:
            raise ValueError(f"dropout {dropout}")
        return dropout


@fault(
    "dropout-checked-in-training-only",
    AT_ONCE,
    symptom="the mistake is reported hours later, when training begins",
)
class DropoutCheckedInTrainingOnly(OwnDropout):
    def drop(self, weights: Tensor) -> Tensor:
        return functional.dropout(weights, self.p, self.training)


@fault(
    "refused-input-stays",
    TRACELESS,
    symptom="an error that is caught and retried leaves the bad input in the checkpoint",
)
class RefusedInputStays(PlainMultiHead):
    def validate(self, x: Tensor) -> None:
        try:
            super().validate(x)
        except ValueError:
            self.register_buffer("refused", x.detach().clone())
            raise


@fault(
    "refused-length-lifts-the-mask",
    TRACELESS,
    symptom="after one prompt that is too long, ordinary ones see the future",
    family="causal",
)
class RefusedLengthLiftsTheMask(PlainCausal):
    refused = False

    def validate(self, x: Tensor) -> None:
        self.refused = self.refused or (x.dim() == 3 and x.shape[1] > self.context_length)
        super().validate(x)

    def hide(self, scores: Tensor) -> Tensor:
        return scores if self.refused else super().hide(scores)


@fault(
    "refused-columns-stop-the-next-call",
    TRACELESS,
    symptom="a service that catches the error is wrong from then on",
    family="wrapper",
)
class RefusedColumnsStopTheNextCall(PlainWrapper):
    def forward(self, x: Tensor) -> Tensor:
        heads, self.heads = self.heads, nn.ModuleList()
        output = self.join([head(x) for head in heads])
        self.heads = heads
        return output


@fault("error-without-numbers", NUMBERS, symptom="the message says that something is wrong")
class ErrorWithoutNumbers(PlainMultiHead):
    def validate(self, x: Tensor) -> None:
        try:
            super().validate(x)
        except ValueError:
            raise ValueError("invalid input") from None


@fault(
    "heads-error-without-numbers",
    NUMBERS,
    symptom="d_out must be divisible by num_heads, but which were they?",
    source="rasbt/LLMs-from-scratch ch03 (an assert)",
)
class HeadsErrorWithoutNumbers(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        try:
            super().__init__(*args, **options)
        except ValueError as error:
            if "divisible" not in str(error):
                raise
            raise AssertionError("d_out must be divisible by num_heads") from None


@fault(
    "rank-error-without-numbers", NUMBERS, symptom="bare assert on the input's axes", family="plain"
)
class RankErrorWithoutNumbers(PlainSimplified):
    def validate(self, x: Tensor) -> None:
        if x.dim() not in (2, 3):
            raise AssertionError  # as a bare assert does; pytest would give that a text


@fault(
    "columns-error-without-numbers",
    NUMBERS,
    symptom="the wrong width is named neither by itself nor by the right one",
    family="self",
)
class ColumnsErrorWithoutNumbers(PlainSelf):
    def validate(self, x: Tensor) -> None:
        if x.dim() in (2, 3) and x.shape[-1] != self.d_in:
            raise ValueError("the input has the wrong number of columns")
        super().validate(x)


@fault(
    "dropout-error-without-numbers",
    NUMBERS,
    symptom="dropout must be a probability, but which was it?",
)
class DropoutErrorWithoutNumbers(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        try:
            super().__init__(*args, **options)
        except ValueError as error:
            if "dropout" not in str(error):
                raise
            raise ValueError("dropout must be a probability") from None
