"""Faults of the projections: their matrices, their biases, and what comes after the last one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainMultiHead, PlainSelf

BIAS = "projection/biases-take-part"
OUT_BIAS = "projection/out-bias-takes-part"
ONCE = "projection/out-projection-applied-once"
AFFINE = "projection/out-projection-is-affine"
VALUE = "oracle/output-within-bound"


@fault(
    "out-projection-missing",
    ONCE,
    symptom="a layer is there, and trained by nothing",
    source="hyunwoongko/transformer 91368af",
)
class OutProjectionMissing(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        return context


@fault(
    "out-projection-left-out",
    "projection/there-is-an-output-projection",
    symptom="the heads never learn of each other",
)
class OutProjectionLeftOut(PlainMultiHead):
    def __init__(
        self,
        d_in: int,
        d_out: int,
        context_length: int,
        dropout: float,
        num_heads: int,
        qkv_bias: bool = False,
    ) -> None:
        super().__init__(d_in, d_out, context_length, dropout, num_heads, qkv_bias)
        del self.out_proj

    def finish(self, context: Tensor) -> Tensor:
        return context


@fault(
    "out-projection-twice",
    ONCE,
    symptom="projected in attention and again by its caller",
)
class OutProjectionTwice(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        return super().finish(super().finish(context))


@fault(
    "out-projection-transposed",
    ONCE,
    symptom="weights of another framework were taken over without turning them",
)
class OutProjectionTransposed(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        return context @ self.out_proj.weight + self.out_proj.bias


@fault(
    "out-projection-keeps-the-context",
    ONCE,
    symptom="a residual inside, and another one outside",
)
class OutProjectionKeepsTheContext(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        return context + super().finish(context)


@fault(
    "input-added-where-it-fits",
    ONCE,
    AFFINE,
    symptom="where d_in = d_out the residual of the block is added twice",
)
class InputAddedWhereItFits(PlainMultiHead):
    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        return output + x if x.shape == output.shape else output


@fault("activation-after-out-projection", AFFINE, ONCE, symptom="negative outputs vanish")
class ActivationAfterOutProjection(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        return super().finish(context).relu()


@fault(
    "normalisation-after-out-projection",
    AFFINE,
    ONCE,
    symptom="the block's layer norm was put inside",
)
class NormalisationAfterOutProjection(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        return functional.layer_norm(super().finish(context), (self.d_out,))


@fault("out-bias-lost", OUT_BIAS, symptom="the bias is there and has no effect")
class OutBiasLost(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        return functional.linear(context, self.out_proj.weight)


@fault(
    "out-bias-twice",
    OUT_BIAS,
    symptom="a fused layer adds the bias that was already added",
)
class OutBiasTwice(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        return super().finish(context) + self.out_proj.bias


@fault(
    "out-bias-for-every-head",
    OUT_BIAS,
    symptom="each head is projected on its own, and each adds the bias",
)
class OutBiasForEveryHead(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        return super().finish(context) + (self.num_heads - 1) * self.out_proj.bias


@fault(
    "out-bias-only-for-the-first-token",
    OUT_BIAS,
    symptom="a bias was broadcast along the wrong axis",
)
class OutBiasOnlyForTheFirstToken(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        output = functional.linear(context, self.out_proj.weight)
        return torch.cat([output[:, :1] + self.out_proj.bias, output[:, 1:]], dim=1)


def without_bias(layer: nn.Linear, x: Tensor) -> Tensor:
    """The layer's product alone."""
    return functional.linear(x, layer.weight)


@fault(
    "query-bias-lost",
    BIAS,
    symptom="a checkpoint with biases loads and gives slightly other answers",
)
class QueryBiasLost(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        _, keys, values = super().project(x)
        return without_bias(self.W_query, x), keys, values


@fault(
    "value-bias-lost",
    BIAS,
    "argument/qkv-bias-has-effect",
    symptom="all outputs are off by the same vector",
)
class ValueBiasLost(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, _ = super().project(x)
        return queries, keys, without_bias(self.W_value, x)


@fault(
    "biases-lost",
    BIAS,
    "argument/qkv-bias-has-effect",
    symptom="the flag is accepted and ignored",
    family="self",
)
class BiasesLost(PlainSelf):
    def forward(self, x: Tensor) -> Tensor:
        self.validate(x)
        layers = (self.W_query, self.W_key, self.W_value)
        queries, keys, values = (without_bias(layer, x) for layer in layers)
        return self.mix(self.normalise(self.scale(self.score(queries, keys))), values)


@fault(
    "biases-of-keys-and-values-swapped",
    BIAS,
    symptom="one fused bias is cut in another order than the matrix",
)
class BiasesOfKeysAndValuesSwapped(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = super().project(x)
        if self.W_key.bias is None:
            return queries, keys, values
        swap = self.W_value.bias - self.W_key.bias
        return queries, keys + swap, values - swap


@fault(
    "biases-twice",
    BIAS,
    symptom="the bias of a fused kernel is added to that of the layer",
)
class BiasesTwice(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        layers = (self.W_query, self.W_key, self.W_value)
        queries, keys, values = (layer(x) + layer(x) - without_bias(layer, x) for layer in layers)
        return queries, keys, values


@fault(
    "biases-of-the-first-head-for-all",
    BIAS,
    symptom="a bias of head_dim numbers is broadcast over the heads",
)
class BiasesOfTheFirstHeadForAll(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = super().project(x)
        bias = self.W_value.bias
        if bias is not None:
            values = values - bias + bias[: self.head_dim].repeat(self.num_heads)
        return queries, keys, values


@fault(
    "biases-only-in-training",
    BIAS,
    symptom="evaluation drops the biases",
)
class BiasesOnlyInTraining(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.training:
            return super().project(x)
        layers = (self.W_query, self.W_key, self.W_value)
        queries, keys, values = (without_bias(layer, x) for layer in layers)
        return queries, keys, values


@fault(
    "key-bias-on-the-scores-of-the-diagonal",
    BIAS,
    symptom="the key bias, which must not show, shows",
)
class KeyBiasOnTheDiagonal(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        scores = super().score(queries, keys)
        if self.W_key.bias is None:
            return scores
        bias = self.W_key.bias.view(self.num_heads, 1, self.head_dim)
        return scores + torch.diag_embed((queries * bias).sum(dim=-1))
