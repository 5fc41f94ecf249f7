"""The protocol's messages: what the program says of itself, and arrays as text.

Every message is one JSON object on a line of its own. docs/protocol.md is the whole of it.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from properties.subjects.call import ANSWERS

VERSIONS = (1, 2)
FORMATS = ("float64", "float32", "bfloat16", "float16")
ARGUMENTS = {
    "mask": "mask",
    "bias": "bias",
    "padding": "padding_mask",
    "causal": "causal",
    "window": "window",
    "scale": "scale",
    "cap": "softcap",
    "slopes": "slopes",
    "dropout": "dropout_p",
    "weights": "return_weights",
    "lse": "return_lse",
    "segments": "segment_ids",
    "documents": "cu_seqlens_q",
    "documents_of_keys": "cu_seqlens_k",
}
"""What a call of a program may be told, with the argument of `Process` for it."""
LATER = ("segments", "documents")
"""Those that version 1 does not have; documents_of_keys come with documents."""
BESIDE_DOCUMENTS = ("causal", "window", "scale", "cap", "slopes", "dropout", "groups", "lengths")
"""What can be told beside documents that are packed one after the other."""
WORDS = (*(role for role in ARGUMENTS if role not in (*LATER, "documents_of_keys")),)
SIZES = ("groups", "lengths")
"""What it may say of sizes: fewer heads of keys than of queries; as many keys as one likes."""
TOLD = (
    "mask",
    "bias",
    "padding",
    "context",
    "context_mask",
    "context_bias",
    "context_padding",
)
"""What a program with modules may say that a call takes besides x."""
KINDS = ("causal", "self", "multihead", "encoder", "cross")
"""The families of such modules; see `subjects.subject.FAMILIES`."""
OPTIONS = ("d_in", "groups", "context_length", "d_context", "bias", "dropout")
"""What it may say that "build" is told besides d_out and the number of heads."""


class MessageError(ValueError):
    """A message that is not as the protocol has it: what was wrong, and what was expected."""


@dataclass(frozen=True)
class Hello:
    """What a program says of itself. formats: those in which it computes; takes: some of `ARGUMENTS` and
    `SIZES`, or of `TOLD` where it has modules; conventions: see `subjects.call.ANSWERS`; gradients: whether
    it answers for them.
    """

    name: str = ""
    formats: tuple[str, ...] = ("float32",)
    takes: frozenset[str] = frozenset()
    conventions: Mapping[str, str] = field(default_factory=dict)
    gradients: bool = False
    module: ModuleClaim | None = None
    version: int = 1


@dataclass(frozen=True)
class ModuleClaim:
    """What a program says of its modules. family: one of `KINDS`; options: some of `OPTIONS`; out and
    out_bias: whether there is an output projection, and whether that has a bias; cache: whether it answers
    "begin" and "step".
    """

    family: str
    options: tuple[str, ...] = ()
    out: bool = False
    out_bias: bool = False
    cache: bool = False


def hello(message: Mapping[str, Any]) -> Hello:
    """What the answer to "hello" says; MessageError where it says what nobody knows."""
    version = message.get("protocol")
    if version not in VERSIONS or isinstance(version, bool):
        raise MessageError(
            f"says that it speaks version {version!r} of the protocol; "
            f"expected {' or '.join(map(str, VERSIONS))}"
        )
    name = message.get("name", "")
    if not isinstance(name, str):
        raise MessageError(f"says that its name is {name!r}; expected a string")
    formats = words(message, "formats", ["float32"], FORMATS)
    if not formats:
        raise MessageError(f"names no formats; expected some of {', '.join(FORMATS)}")
    module = claim(message["module"]) if version > 1 and "module" in message else None
    if module and "float32" not in formats:
        raise MessageError("has modules and no float32 among its formats; expected it there")
    further = LATER if version > 1 else ()
    takes = words(message, "takes", [], TOLD if module else (*WORDS, *further, *SIZES))
    apart = [role for role in takes if role not in ("documents", *BESIDE_DOCUMENTS)]
    if "documents" in takes and apart:
        raise MessageError(f"says that it takes {apart[0]} beside documents; expected one of them")
    gradients = flag(message, "gradients")
    return Hello(name, formats, frozenset(takes), conventions(message), gradients, module, version)


def claim(found: Any) -> ModuleClaim:
    """What is said of modules."""
    if not isinstance(found, dict):
        raise MessageError(f"says module: {found!r}; expected an object")
    family = found.get("family")
    if family not in KINDS:
        raise MessageError(
            f"says that its module is {family!r}; expected one of {', '.join(KINDS)}"
        )
    options = words(found, "options", [], OPTIONS)
    flags = {name: flag(found, name) for name in ("out", "out_bias", "cache")}
    headed = [name for name in ("groups",) if name in options] + ["out"] * flags["out"]
    if headed and family in ("causal", "self"):
        raise MessageError(
            f"says {headed[0]} of a module of one head; expected a family with heads"
        )
    if flags["out_bias"] and not flags["out"]:
        raise MessageError("says out_bias without out; expected both")
    if flags["cache"] and family not in ("causal", "multihead"):
        raise MessageError(
            f"says cache of {family}, where nothing is past; expected a causal family"
        )
    return ModuleClaim(family, options, **flags)


def flag(message: Mapping[str, Any], name: str) -> bool:
    """What is true or false, and false where nothing is said."""
    found = message.get(name, False)
    if not isinstance(found, bool):
        raise MessageError(f"says {name}: {found!r}; expected true or false")
    return found


def words(
    message: Mapping[str, Any], name: str, default: list[str], known: tuple[str, ...]
) -> tuple[str, ...]:
    """A list of words that are known, without repetitions."""
    found = message.get(name, default)
    if not isinstance(found, list):
        raise MessageError(f"says {name}: {found!r}; expected a list of strings")
    unknown = [one for one in found if one not in known]
    if unknown:
        raise MessageError(
            f"names {unknown[0]!r} among its {name}; expected some of {', '.join(known)}"
        )
    return tuple(dict.fromkeys(found))


def conventions(message: Mapping[str, Any]) -> dict[str, str]:
    """Its conventions, by name."""
    found = message.get("conventions", {})
    if not isinstance(found, dict):
        raise MessageError(f"says conventions: {found!r}; expected an object")
    for name, answer in found.items():
        if name not in ANSWERS:
            raise MessageError(f"names a convention {name!r}; expected {', '.join(ANSWERS)}")
        if answer not in ANSWERS[name]:
            raise MessageError(
                f"says that its convention {name} is {answer!r}; "
                f"expected {' or '.join(map(repr, ANSWERS[name]))}"
            )
    return found


def written(value: Any) -> Any:
    """An argument as JSON has it: a tensor as an array, a number that JSON lacks as a string."""
    if isinstance(value, Tensor):
        return array(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return list(value) if isinstance(value, tuple) else value


def array(tensor: Tensor) -> dict[str, Any]:
    """Shape, format and the bytes in base64: the numbers in row-major order, little-endian."""
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "data": base64.b64encode(raw(tensor)).decode("ascii"),
    }


def raw(tensor: Tensor) -> bytes:
    """The numbers in row-major order, however they lie: an axis of one number may have any stride."""
    plain = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def number(name: str, answer: Mapping[str, Any]) -> int:
    """The number of a module or state that an answer gives; MessageError where it gives none."""
    found = answer.get(name)
    if type(found) is not int:
        raise MessageError(f"gave as {name} {found!r}; expected an integer")
    return found


def tensor(name: str, part: Any) -> Tensor:
    """An array of an answer as a tensor; MessageError where it is none."""
    if not isinstance(part, dict) or not {"shape", "dtype", "data"} <= part.keys():
        raise MessageError(f"gave as {name} no array; expected shape, dtype and data")
    shape, kind, data = part["shape"], part["dtype"], part["data"]
    whole = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    if not whole:
        raise MessageError(f"gave {name} the shape {shape!r}; expected a list of sizes")
    if kind not in FORMATS:
        raise MessageError(f"gave {name} the dtype {kind!r}; expected one of {', '.join(FORMATS)}")
    try:
        data = base64.b64decode(data, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise MessageError(f"gave as data of {name} what is no base64") from None
    dtype: torch.dtype = getattr(torch, kind)
    wanted = math.prod(shape) * dtype.itemsize
    if len(data) != wanted:
        sizes = "x".join(map(str, shape)) or "one number"
        raise MessageError(
            f"gave {len(data)} bytes for {name}; expected {wanted} for {sizes} in {kind}"
        )
    if not data:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)
