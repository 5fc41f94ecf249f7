"""Four faults that are put around any subject, so that it shows whether a library's are told.

They stand where the suite hands its weights and calls over: what the library computes is then what it
would compute with such a fault of its own.

Legend: B batch, T tokens, S keys, H heads, G heads of keys and values, D head_dim.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from properties.basics.dtypes import Array
from properties.subjects.call import Answer, Arguments, Inputs
from properties.subjects.subject import CAUSAL_FAMILIES, Config, Subject
from properties.truth.parameters import Weights

LINE = "ATTENTION_SURVEY_LINE"
"""The variable that tells a process which line to put faults around."""
FACTOR = 1.5
DROPPED = 0.25


class Faulty(Subject):
    """What a fault may change; it changes nothing. Mixed in before the class of a subject."""

    def changed(self, weights: Weights, config: Config) -> Weights:
        """The weights that are handed over in the place of these."""
        return weights

    def told(self, inputs: Inputs, arguments: Arguments) -> tuple[Inputs, Arguments]:
        """What is asked in the place of this call."""
        return inputs, arguments

    def output(self, context: Tensor) -> Tensor:
        """What comes in the place of a module's output, (B, T, W)."""
        return context

    def answered(self, output: Array) -> Array:
        """The same of a call's answer."""
        return output

    def build(self, config: Config, weights: Weights | None) -> nn.Module:
        """The module with the fault."""
        if weights is not None:
            weights = self.changed(weights, config)
        # that of the class it is mixed in before, never the one without a body
        module: nn.Module = super().build(config, weights)  # type: ignore[safe-super]
        module.register_forward_hook(self.after)
        return module

    def after(self, module: nn.Module, given: Any, returned: Any) -> Any:
        """What forward returns with the fault."""
        if isinstance(returned, tuple):
            return (self.output(returned[0]), *returned[1:])
        return self.output(returned) if isinstance(returned, Tensor) else returned

    def ask(self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        """The answer with the fault."""
        inputs, arguments = self.told(inputs, arguments)
        answer = super().ask(module, inputs, arguments, dtype)
        return replace(answer, output=self.answered(answer.output))


class Scale(Faulty):
    """Scores are half as large again."""

    def changed(self, weights: Weights, config: Config) -> Weights:
        """Larger queries."""
        bias = weights.query_bias
        larger = None if bias is None else FACTOR * bias
        return replace(weights, query=FACTOR * weights.query, query_bias=larger)

    def told(self, inputs: Inputs, arguments: Arguments) -> tuple[Inputs, Arguments]:
        """Larger queries of a function."""
        if "queries" not in inputs:
            return inputs, arguments
        return {**inputs, "queries": FACTOR * inputs["queries"]}, arguments


class HeadsSwapped(Faulty):
    """Values are mixed by the weights of another head."""

    def changed(self, weights: Weights, config: Config) -> Weights:
        """The values of the heads in the opposite order."""
        heads = config.sizes.key_heads
        value, bias = weights.value, weights.value_bias
        turned = np.flip(value.reshape(len(value), heads, -1), 1).copy().reshape(value.shape)
        if bias is not None:
            bias = np.flip(bias.reshape(heads, -1), 0).copy().reshape(-1)
        return replace(weights, value=turned, value_bias=bias)

    def told(self, inputs: Inputs, arguments: Arguments) -> tuple[Inputs, Arguments]:
        """The same of a function."""
        if "values" not in inputs:
            return inputs, arguments
        return {**inputs, "values": np.flip(inputs["values"], 1).copy()}, arguments


class MaskOffByOne(Faulty):
    """Each row sees one key further: a mask lies one key to the right, the diagonal one higher."""

    def told(self, inputs: Inputs, arguments: Arguments) -> tuple[Inputs, Arguments]:
        """The mask moved along the keys."""
        if arguments.mask is None:
            return inputs, arguments
        return inputs, replace(arguments, mask=np.roll(arguments.mask, 1, axis=-1))

    def output(self, context: Tensor) -> Tensor:
        """Of modules that hide the future themselves: a row is what the next token would be given."""
        if self.family not in CAUSAL_FAMILIES:
            return context
        return functional.pad(context[..., 1:, :], (0, 0, 0, 1))


class DropsInEval(Faulty):
    """Dropout goes on when it should not."""

    def output(self, context: Tensor) -> Tensor:
        """A quarter of the numbers is dropped, in every mode."""
        return functional.dropout(context, DROPPED, training=True)

    def answered(self, output: Array) -> Array:
        """The same of a call's answer."""
        kept = np.random.default_rng().random(output.shape) >= DROPPED
        return output * kept / (1.0 - DROPPED)


FAULTS: dict[str, type[Faulty]] = {
    "scale": Scale,
    "heads swapped": HeadsSwapped,
    "mask off by one": MaskOffByOne,
    "dropout in eval": DropsInEval,
}
LAWS = (
    "oracle/output-within-bound",
    "heads/split-equals-per-head-matmul",
    "mask/shows-what-it-shows",
    "causality/future-does-not-change-past",
    "numerics/deterministic-in-eval",
)
"""What is asked of them."""


def injected(found: Subject, fault: str) -> Subject:
    """The subject with the fault."""
    made: type[Subject] = type("Injected", (FAULTS[fault], type(found)), {})
    subject = made.__new__(made)
    vars(subject).update(vars(found))
    subject.name = f"{found.name}, {fault}"
    return subject


def has_place(found: Subject, fault: str) -> bool:
    """Whether there is anything that the fault could be in."""
    hides = found.family in CAUSAL_FAMILIES or "mask" in found.takes
    return hides or fault != "mask off by one"
