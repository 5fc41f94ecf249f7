"""Modules with weights that a program has, as torch's: parameters are kept here, and sent when they change.

Legend: B batch, T tokens, S tokens of a context, H query heads, G key-value heads, D head_dim.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from properties.recognition.process.messages import MessageError, number, raw, written
from properties.recognition.process.program import ProgramError

if TYPE_CHECKING:
    from properties.recognition.process.function import Process

SEEDS = 2**31
SPARE = 32  # modules and states that nobody has any more, before the program is told
FORWARD = {
    "mask": "mask",
    "padding": "padding_mask",
    "context": "context",
    "context_mask": "context_mask",
    "context_padding": "context_padding_mask",
}
"""The argument of `ProgramModule.forward` for what a call may be told; a mask of numbers is a bias."""


def argument_of(role: str) -> str:
    """The argument of `ProgramModule.forward` for a role."""
    return FORWARD[role.replace("bias", "mask")]


LAYERS = {"query": "W_query", "key": "W_key", "value": "W_value", "out": "out_proj"}
"""The layer of `ProgramModule` that keeps each of the weights."""


class Handle:
    """The number by which a program knows a module or state, until nobody has it any more."""

    def __init__(self, process: Process, kind: str, answer: Mapping[str, Any]) -> None:
        """kind: "module" or "state"; answer: that which gave it."""
        try:
            self.number = number(kind, answer)
        except MessageError as error:
            raise process.program.failed(str(error)) from error
        self.starts = process.program.starts
        left = process.left[f"{kind}s"]
        weakref.finalize(self, left.append, (self.starts, self.number)).atexit = False

    def lives(self, process: Process) -> bool:
        """Whether the program that gave it is still running."""
        return process.program.child is not None and process.program.starts == self.starts


class Remote:
    """A module in the program: built there at once, and anew where the program has ended since."""

    def __init__(self, process: Process, sizes: Mapping[str, Any]) -> None:
        """sizes: what "build" is told. Raises RefusedError where the program refuses it."""
        self.process, self.sizes = process, sizes
        self.sent: Any = None
        self.handle = self.built()

    def built(self) -> Handle:
        """A new module of these sizes."""
        self.free()
        answer = self.process.program.ask({"do": "build", **self.sizes})
        return Handle(self.process, "module", answer)

    def free(self) -> None:
        """Tell the program which modules and states nobody has any more, if these are many."""
        left, program = self.process.left, self.process.program
        if sum(map(len, left.values())) < SPARE:
            return
        now = program.starts if program.child is not None else None
        gone = {kind: [n for starts, n in found if starts == now] for kind, found in left.items()}
        for found in left.values():
            found.clear()
        if any(gone.values()):
            program.ask({"do": "free", **gone})

    def loaded(self, weights: Mapping[str, Tensor]) -> int:
        """The module's number, with these weights in it: (in, out) each, as x @ W."""
        if not self.handle.lives(self.process):
            self.handle, self.sent = self.built(), None
        bits = {name: (part.dtype, raw(part)) for name, part in weights.items()}
        if bits != self.sent:
            self.sent = None
            arrays = {n: written(w.T if w.ndim == 2 else w) for n, w in weights.items()}
            self.process.program.ask(
                {"do": "load", "module": self.handle.number, "weights": arrays}
            )
            self.sent = bits
        return self.handle.number

    def __deepcopy__(self, memo: Any) -> Remote:
        """A module of its own."""
        return Remote(self.process, self.sizes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Elsewhere it is built anew."""
        return Remote, (self.process, self.sizes)


class ProgramModule(nn.Module):
    """A module of a program; a class of it for each program is made by `module_class`."""

    process: Process

    def __init__(
        self,
        d_in: int = 0,
        d_out: int = 0,
        num_heads: int = 1,
        num_kv_heads: int | None = None,
        *,
        embed_dim: int = 0,
        context_length: int | None = None,
        d_context: int | None = None,
        qkv_bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        """Have the program build it. embed_dim: d_in and d_out, where these cannot differ.

        Raises RefusedError where the program refuses these sizes.
        """
        super().__init__()
        claim = self.process.hello.module
        assert claim is not None
        d_in, d_out, groups = d_in or embed_dim, d_out or embed_dim, num_kv_heads or num_heads
        sizes: dict[str, Any] = {"d_in": d_in, "d_out": d_out, "heads": num_heads}
        optional = {
            "groups": groups,
            "context_length": context_length,
            "d_context": d_context,
            "bias": qkv_bias,
            "dropout": dropout,
        }
        sizes |= {name: size for name, size in optional.items() if name in claim.options}
        self.dropout = dropout
        self.remote = Remote(self.process, sizes)
        of_keys = d_out // num_heads * groups
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_context or d_in, of_keys, bias=qkv_bias)
        self.W_value = nn.Linear(d_context or d_in, of_keys, bias=qkv_bias)
        if claim.out:
            self.out_proj = nn.Linear(d_out, d_out, bias=claim.out_bias)

    def forward(self, x: Tensor, context: Tensor | None = None, **told: Any) -> Tensor:
        """Map x (B, T, d_in), and a context (B, S, d_context), to (B, T, d_out).

        told: masks of pairs (B, T, S), of booleans or numbers, and of keys (B, S); past: {} before the
        first tokens of a sequence, and then the same again for the next ones.
        """
        past = told.pop("past", None)
        weights = self.weights()
        if past is not None:
            return self.step(x, past, weights)
        given = {"x": x, "context": context}
        for role, own in FORWARD.items():
            mask = told.get(own)
            if role != "context" and mask is not None:
                numbers = mask.is_floating_point() and role.endswith("mask")
                given[role.replace("mask", "bias") if numbers else role] = mask
        tensors = {name: part for name, part in given.items() if part is not None}
        self.require(tensors)
        options: dict[str, Any] = {"training": True} if self.training else {}
        if self.training and self.dropout:
            options["seed"] = int(torch.randint(SEEDS, ()))
        record: Callable[..., Tensor] = Asked.apply
        return record(
            self.remote, (*tensors, *weights), options, *tensors.values(), *weights.values()
        )

    def require(self, tensors: Mapping[str, Tensor]) -> None:
        """TypeError for what the program does not say that it takes, so that it is never asked."""
        hello = self.process.hello
        form = str(tensors["x"].dtype).removeprefix("torch.")
        if form not in hello.formats:
            raise TypeError(f"the program does not say that it computes in {form}")
        absent = [name for name in tensors if name not in (*hello.takes, "x")]
        if absent:
            raise TypeError(f"the program does not say that it takes {absent[0]}")

    def weights(self) -> dict[str, Tensor]:
        """The parameters by the protocol's names."""
        layers = {n: getattr(self, own) for n, own in LAYERS.items() if hasattr(self, own)}
        found = {name: layer.weight for name, layer in layers.items()}
        biased = {f"{name}_bias": layer.bias for name, layer in layers.items()}
        return found | {name: bias for name, bias in biased.items() if bias is not None}

    def step(self, x: Tensor, past: dict[str, Any], weights: Mapping[str, Tensor]) -> Tensor:
        """The output for the next tokens of a sequence."""
        self.require({"x": x})
        remote, program = self.remote, self.process.program
        module = remote.loaded(weights)
        if not past:
            remote.free()
            answer = program.ask({"do": "begin", "module": module, "batch": len(x)})
            past["state"] = Handle(self.process, "state", answer)
        state = past["state"]
        if not state.lives(self.process):
            raise ProgramError("has lost the state of a sequence: it ended and was started anew")
        answer = program.ask({"do": "step", "state": state.number, "x": written(x)})
        return self.process.answer("output", answer)


class Asked(torch.autograd.Function):
    """A call of a module, and its derivatives by what the program answers to "gradients"."""

    @staticmethod
    def forward(
        ctx: Any, remote: Remote, names: Sequence[str], options: Mapping[str, Any], *tensors: Tensor
    ) -> Tensor:
        """The output."""
        ctx.given = remote, names, options
        ctx.save_for_backward(*tensors)
        output = remote.process.answer("output", asked("call", remote, names, options, tensors))
        if not remote.process.hello.gradients:
            ctx.mark_non_differentiable(output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        """Of sum(upstream * output) by each of the tensors that requires one."""
        remote, names, options = ctx.given
        told = {**options, "upstream": written(upstream)}
        answer = asked("gradients", remote, names, told, ctx.saved_tensors)
        found = {**(answer["weights"] if isinstance(answer.get("weights"), dict) else {}), **answer}
        wanted = zip(names, ctx.needs_input_grad[3:], strict=True)
        parts = [turned(remote, name, found) if needed else None for name, needed in wanted]
        return None, None, None, *parts


def asked(
    do: str,
    remote: Remote,
    names: Sequence[str],
    options: Mapping[str, Any],
    tensors: Sequence[Tensor],
) -> dict[str, Any]:
    """The answer about a module whose weights are the last of these tensors."""
    given = dict(zip(names, tensors, strict=True))
    weights = {n: part for n, part in given.items() if n.removesuffix("_bias") in LAYERS}
    message = {"do": do, "module": remote.loaded(weights)}
    arrays = {name: written(part) for name, part in given.items() if name not in weights}
    return remote.process.program.ask({**message, **arrays, **options})


def turned(remote: Remote, name: str, found: Mapping[str, Any]) -> Tensor:
    """A derivative as torch has its parameters: (out, in)."""
    part = remote.process.answer(name, found)
    return part.T if name in LAYERS else part


def module_class(process: Process) -> type[ProgramModule]:
    """The class of a program's modules, whose constructor and forward take what it says that they take."""
    claim, takes = process.hello.module, process.hello.takes
    assert claim is not None
    names = ["d_in", "d_out"] if "d_in" in claim.options else ["embed_dim"]
    names += ["num_heads"] if claim.family not in ("causal", "self") else []
    own = {"groups": "num_kv_heads", "bias": "qkv_bias"}
    names += [own.get(name, name) for name in claim.options if name != "d_in"]
    told = [
        FORWARD[role] for role in FORWARD if role in takes or role.replace("mask", "bias") in takes
    ]
    told += ["past"] * claim.cache
    needed = [name for name in told if claim.family == "cross" and name == "context"]

    def forward(self: ProgramModule, x: Tensor, *given: Any, **named: Any) -> Tensor:
        """See `ProgramModule`."""
        return ProgramModule.forward(self, x, *given, **named)

    told = [*needed, *(name for name in told if name not in needed)]
    forward.__signature__ = signature(["self", "x", *needed], told[len(needed) :])  # type: ignore[attr-defined]
    fields = {
        "process": process,
        "forward": forward,
        "__signature__": signature(names, []),
        "__doc__": ProgramModule.__doc__,
        "__module__": __name__,
    }
    return type("Module", (ProgramModule,), fields)


def signature(required: Sequence[str], optional: Sequence[str]) -> Signature:
    """Of these arguments; what is optional is None by default."""
    kind = Parameter.POSITIONAL_OR_KEYWORD
    named = [Parameter(name, kind) for name in required]
    return Signature([*named, *(Parameter(name, kind, default=None) for name in optional)])
