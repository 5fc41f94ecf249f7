"""One built implementation, seen from NumPy: float64 arrays in, float64 arrays out."""

from __future__ import annotations

import traceback
from typing import Any, TypeVar

import numpy as np
import torch

from properties.basics import interrupts
from properties.basics.cells import located
from properties.basics.doing import doing
from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError, SubjectError

ModuleKind = TypeVar("ModuleKind", bound=torch.nn.Module)


class Instance:
    """A torch module in one dtype.

    Everything the subject does wrong here (raises, returns a tuple, an array, another dtype) becomes
    a `SubjectError` that says what came and what was expected.
    """

    def __init__(self, module: torch.nn.Module, dtype: str, *, batched: bool) -> None:
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.batched = batched
        self.module = in_format(module, self.dtype)

    def run(self, x: Array, *, training: bool = False, seed: int = 0) -> Array:
        """The output for x (B, T, d_in), in float64; one sequence after the other if unbatched."""
        self.module.train(training)
        seed_generators(seed)
        with torch.no_grad():
            if self.batched:
                return to_array(self.forward(self.tensor(x)))
            return np.stack([to_array(self.forward(self.tensor(item))) for item in x])

    def gradients(
        self, x: Array, upstream: Array, *, training: bool = False, seed: int = 0
    ) -> dict[str, Array]:
        """Of sum(upstream * output): with respect to the input, as "x", and by name every parameter
        that is not frozen.

        A parameter that the output does not depend on has gradient zero. They are asked for as
        training does, by backward(): checkpointing with reentry forbids torch.autograd.grad.
        """
        self.module.train(training)
        seed_generators(seed)
        self.module.zero_grad()
        inputs = [self.tensor(item).requires_grad_() for item in ([x] if self.batched else x)]
        outputs = [self.forward(item) for item in inputs]
        output = outputs[0] if self.batched else torch.stack(outputs)
        go_back(output, self.tensor(upstream))
        to_input = [gradient_of(leaf) for leaf in inputs]
        leaves = self.module.named_parameters()
        named = {name: gradient_of(leaf) for name, leaf in leaves if leaf.requires_grad}
        self.module.zero_grad()
        return {"x": to_input[0] if self.batched else np.stack(to_input), **named}

    def refusal(self, x: Array) -> str | None:
        """What the module raises on x (any shape), type and text; None if it returns."""
        self.module.eval()
        try:
            with torch.no_grad(), doing("in forward"):
                self.module(self.tensor(x))
        except BaseException as error:  # being refused is what is asked for
            interrupts.subjects_own(error)
            return f"{type(error).__name__}: {error}"
        return None

    def call(self, x: torch.Tensor, *, training: bool = False) -> Array:
        """The output for a tensor as it lies in memory, which `run` always makes anew."""
        self.module.train(training)
        with torch.no_grad():
            if self.batched:
                return to_array(self.forward(x))
            return np.stack([to_array(self.forward(item)) for item in x])

    def state(self) -> dict[str, Array]:
        """Every tensor of the state_dict by name, in float64."""
        entries = self.module.state_dict().items()
        return {name: to_array(entry) for name, entry in entries if isinstance(entry, torch.Tensor)}

    def tensor(self, x: Array) -> torch.Tensor:
        """A fresh tensor with the values of x in the instance's dtype, in order in memory."""
        return torch.tensor(np.ascontiguousarray(x), dtype=self.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The module's own output for a tensor, checked to be one floating-point tensor."""
        try:
            with doing("in forward"):
                result = self.module(x)
        except OutsideError:
            raise
        except BaseException as error:  # whatever it is, it is the subject's
            interrupts.subjects_own(error)
            shape = "x".join(map(str, x.shape))
            raise SubjectError(f"forward raised {describe(error)} on an input {shape}") from error
        if not isinstance(result, torch.Tensor):
            raise SubjectError(
                f"forward returned {kind(result)}; expected one tensor. "
                "Return the context alone, or write a Subject whose module does."
            )
        if not result.is_floating_point():
            raise SubjectError(f"forward returned {result.dtype}; expected {self.dtype}")
        return result


def in_eval(module: ModuleKind) -> ModuleKind:
    """The module in eval mode: a train() of its own may return nothing, and eval() then does."""
    module.eval()
    return module


def in_format(module: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
    """The module with its numbers in this format: `to`, which is left out where it would do nothing.

    Where it holds complex numbers, `double`, `half` and the like: `to` would leave their real part alone.
    """
    there = True
    for part in module.modules():
        own = type(part)
        for tensor in (*part._parameters.values(), *part._buffers.values()):
            if tensor is None or tensor.dtype == dtype:
                continue
            if tensor.is_complex():
                moved: torch.nn.Module = getattr(module, CASTS[dtype])()
                return moved
            there = there and not tensor.is_floating_point()  # none of ours concerns the others
        if own.to is not torch.nn.Module.to or own._apply is not torch.nn.Module._apply:
            there = False  # it may move tensors that are not registered
    return module if there else module.to(dtype)


CASTS = {
    torch.float64: "double",
    torch.float32: "float",
    torch.bfloat16: "bfloat16",
    torch.float16: "half",
}
"""The methods of a module that move real numbers alone, as `to` with a format does not."""


def complex_numbers(module: torch.nn.Module) -> list[str]:
    """The names of parameters and buffers that hold complex numbers."""
    return [
        f"{path}.{name}" if path else name
        for path, part in module.named_modules()
        for name, tensor in (*part._parameters.items(), *part._buffers.items())
        if tensor is not None and tensor.is_complex()
    ]


def seed_generators(seed: int) -> None:
    """Seed what the subject may draw from.

    Like torch.manual_seed, which besides queues a seeding, with a formatted stack, for every kind of
    accelerator that is not in use: a quarter of a run's time.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


def to_array(tensor: torch.Tensor) -> Array:
    """The values of a tensor as float64."""
    return tensor.detach().to(torch.float64).cpu().numpy().copy()


def go_back(output: torch.Tensor, upstream: torch.Tensor) -> None:
    """output.backward(upstream); what it raises is the subject's."""
    try:
        with doing("in backward"):
            output.backward(upstream)
    except BaseException as error:  # whatever it is, it is the subject's
        interrupts.subjects_own(error)
        raise SubjectError(f"backward raised {describe(error)}") from error


def gradient_of(leaf: torch.Tensor) -> Array:
    """What backward() left in a leaf, in float64; zeros where the output does not depend on it."""
    return to_array(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)


def describe(error: BaseException) -> str:
    """Type, text and the place in the subject's own file, on one line: it has none where a program of
    another language raised it.
    """
    text = " ".join(str(error).split()) or "without a message"
    where = "" if hasattr(error, "told_by_program") else place(error)
    return f"{type(error).__name__}: {text[:300]}{where}"


def place(error: BaseException) -> str:
    """' at file:line', the last line outside of torch that an error passed through, if there is one."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if "/torch/" not in file and file != __file__:
            found = f" at {located(file, frame, line)}"
    return found


def kind(value: Any) -> str:
    """What a value is, in a few words: 'a tuple (Tensor 2x3x4, Tensor 2x3x3)'."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} ({', '.join(map(kind, value))})"
    shape = getattr(value, "shape", None)
    suffix = "" if shape is None else " " + "x".join(map(str, shape))
    module = type(value).__module__.partition(".")[0]
    prefix = "" if module in ("builtins", "torch") else f"{module} "
    return f"{prefix}{type(value).__name__}{suffix}"
