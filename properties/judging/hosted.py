"""An untrusted function asked in a process of its own: what goes in, what came out, bit by bit.

Arrays lie in a file that both processes have: what goes in, the result, and what went in as it is after the
call. Whatever is read there is judged here.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import properties
from properties.basics.dtypes import Array
from properties.basics.ending import signal_named
from properties.judging.host import EDGE
from properties.judging.plan import Content, Plan, Question, seen
from properties.judging.spec import Spec
from properties.runs.process import Process

Bits = NDArray[Any]
SIZE = {"float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": np.uint16,
        "bool": np.bool_}  # fmt: skip


def bits(array: Array, dtype: str) -> Bits:
    """Numbers that the format has, as it has them."""
    if dtype == "bfloat16":
        high: Bits = (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        return high
    return array.astype(SIZE[dtype])


def numbers(part: Bits, dtype: str) -> Array:
    """In float64."""
    if dtype == "bfloat16":
        wide: Array = (part.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        return wide
    return part.astype(np.float64)


@dataclass
class Came:
    """What came of one call. result: (B, H, T, E) with its bits, None without any; raised: what it
    raised; odd: what is wrong with the result's type, format or shape; written: inputs that are changed;
    beyond: whether something lies on the edges of what it wrote to.
    """

    result: Array | None = None
    bits: bytes = b""
    raised: str = ""
    odd: str = ""
    written: list[str] = field(default_factory=list)
    beyond: bool = False


class Hosted:
    """The process, for one function after the other; a context."""

    def __init__(self, plan: Plan, timeout: float) -> None:
        self.plan, self.timeout = plan, timeout
        self.process: Process | None = None
        self.memory = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the context
        self.room = max(room(plan.spec, question) for question in plan.questions)
        self.memory.truncate(4 * self.room)
        self.array = np.memmap(self.memory, dtype=np.uint8, mode="r+")
        self.watched: set[str] = set()
        self.recorded = 0  # the content at whose call operations are recorded, which takes long

    def __enter__(self) -> Hosted:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self.memory.close()

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.close(0.0)
            self.process = None

    def ask(self, command: str, **content: Any) -> list[dict[str, Any]]:
        """The events of an answer; raises `Lost`, and `Ended` where it ends without its last word."""
        assert self.process is not None
        found = []
        for event in self.process.ask(command, **content):
            if event["event"] in ("watched", "library"):
                self.watched |= set(event.get("names", ())) | {event.get("what", "")} - {""}
            found.append(event)
        told = {event["event"]: event for event in found}
        if "ended" in told and not told.keys() & {"refused", "replaced"}:
            raise Ended(int(told["ended"]["code"]))
        return found

    def load(self, file: Path, name: str) -> str:
        """Load a function; what it raised, or nothing."""
        if self.process is None:
            text = (files("properties.judging") / "host.py").read_text(encoding="utf-8")
            self.process = Process(self.timeout, ("-I", "-c", text), (self.memory.fileno(),))
            path, _ = ways()
            self.ask("start", path=path)
        self.watched = set()
        found = self.ask("load", file=str(file.resolve()), name=name, guarded=ways()[1])
        return next((e["what"] for e in found if e["event"] == "refused"), "")

    def call(self, number: int, storage: str, content: int) -> Came:
        """One call of a question, with one of its contents in one of two storages."""
        self.recorded = (0, 1, 3)[(self.plan.seed + number) % 3]
        message = self.message(number, storage, content)
        sent = arrays(self.plan.spec, *self.asked(number, content))
        # NaN in every format: nothing is left from before
        self.array[2 * self.room : 3 * self.room] = 255
        came = self.came(message["result"], self.ask("call", **message))
        for part, (name, inside, dtype) in zip(message["inputs"], sent, strict=True):
            frame = self.read(part["back"], inside.size + 2 * EDGE, dtype)
            if frame[EDGE:-EDGE].tobytes() != inside.tobytes() or not untouched(frame, dtype):
                came.written.append(name)
        return came

    def asked(self, number: int, content: int) -> tuple[Question, Content]:
        """A question and one of its contents."""
        question = self.plan.questions[number]
        return question, question.contents[content]

    def refill(self, number: int, storage: str, content: int) -> None:
        """Other content where an earlier call had its own."""
        self.ask("refill", **self.message(number, storage, content))

    def again(self, number: int, held: int) -> Came:
        """A result that is held, as it is now."""
        result = self.message(number, "a", 0, write=False)["result"]
        return self.came(result, self.ask("again", number=held, result=result))

    def burst(self, number: int, times: int) -> Came:
        """Calls with nothing in between, of the contents 2 and 3 in turn, in both storages."""
        self.recorded = -1
        first = self.message(number, "a", 2)
        second = self.message(number, "b", 3, place=3 * self.room)
        return Came(raised=what_raised(self.ask("burst", calls=[first, second], times=times)))

    def finish(self) -> list[str]:
        """End its copy of the process; the names that it has replaced."""
        return [name for e in self.ask("finish") if e["event"] == "replaced" for name in e["names"]]

    def message(
        self, number: int, storage: str, content: int, place: int = 0, write: bool = True
    ) -> dict[str, Any]:
        """A command about one content, which is written to memory."""
        spec, (question, chosen) = self.plan.spec, self.asked(number, content)
        parts, back = [], self.room
        for name, array, dtype in arrays(spec, question, chosen):
            size = array.nbytes
            if write:
                self.array[place : place + size] = np.frombuffer(array.tobytes(), np.uint8)
            parts.append(described(name, array, dtype, spec) | {"at": place, "back": back})
            place += -(-size // 64) * 64
            back += -(-(size + 2 * EDGE * array.itemsize) // 64) * 64
        result = described(
            "", laid_out(chosen.vector.values.array, spec, shape(chosen)), question.dtype, spec
        )
        whole = [count(result) + 2 * EDGE] if spec.out else result["shape"]
        return {
            "question": number,
            "storage": storage,
            "inputs": parts,
            "options": options(spec, chosen),
            "out": spec.out,
            "recorded": not spec.library and self.recorded == content,
            "result": result | {"at": 2 * self.room, "whole": whole},
        }

    def came(self, result: dict[str, Any], events: list[dict[str, Any]]) -> Came:
        """What the events tell, and the result as it lies in memory."""
        if raised := what_raised(events):
            return Came(raised=raised)
        answer = next((event for event in events if event["event"] == "answer"), None)
        if answer is None:
            return Came(odd="nothing that can be read")
        if answer["type"] != "Tensor":
            return Came(odd=f"a {answer['type']}, expected a tensor")
        if [answer["dtype"], answer["shape"]] != [result["dtype"], result["whole"]]:
            text = f"{answer['dtype']} of shape {tuple(answer['shape'])}, expected "
            return Came(odd=f"{text}{result['dtype']} of {tuple(result['whole'])}")
        found = self.read(result["at"], int(np.prod(result["whole"])), result["dtype"])
        beyond = bool(self.plan.spec.out) and not untouched(found, result["dtype"])
        inside = (found[EDGE:-EDGE] if self.plan.spec.out else found).reshape(result["shape"])
        ordered = numbers(inside, result["dtype"])
        if self.plan.spec.layout == "BTHD":
            ordered = ordered.swapaxes(1, 2)
        return Came(ordered, inside.tobytes(), beyond=beyond)

    def read(self, at: int, number: int, dtype: str) -> Bits:
        """A copy of what lies in memory."""
        kind = np.dtype(SIZE[dtype])
        return np.frombuffer(self.array[at : at + number * kind.itemsize].tobytes(), kind)


class Ended(Exception):
    """The copy of the process has ended with an answer outstanding: how."""

    def __init__(self, code: int) -> None:
        how = f"was ended by {signal_named(-code)}" if code < 0 else f"ended with exit code {code}"
        super().__init__(how)


def what_raised(events: list[dict[str, Any]]) -> str:
    """What the function raised, or nothing."""
    return next((str(event["what"]) for event in events if event["event"] == "raised"), "")


def ways() -> tuple[list[str], list[str]]:
    """Where modules are found there, and the folders that nobody reads there."""
    path, guarded = [], [Path(properties.__file__).parent.resolve()]
    for entry in filter(None, sys.path):
        ours = Path(entry) / "properties" / "judging" / "host.py"
        if ours.is_file():
            guarded.append(ours.parents[1].resolve())
        if not ours.is_file() or (Path(entry) / "torch").is_dir():
            path.append(entry)
    beside = [folder.parent / "attention" for folder in guarded]
    return path, sorted({f"{folder}/" for folder in (*guarded, *beside)})


def untouched(frame: Bits, dtype: str) -> bool:
    """Whether the edges are what they were: NaN, or true."""
    edges = np.concatenate([frame[:EDGE], frame[-EDGE:]])
    return bool(edges.all() if dtype == "bool" else np.isnan(numbers(edges, dtype)).all())


def shape(content: Content) -> tuple[int, int, int, int]:
    """(B, H, T, E)."""
    batch, heads, tokens, _ = content.vector.shape
    return batch, heads, tokens, content.vector.values.integers.shape[3]


def laid_out(array: Array, spec: Spec, shape: tuple[int, ...] | None = None) -> Array:
    """(B, H, T, D) as the function has it."""
    array = np.broadcast_to(array[:1, :1, :1, :1], shape) if shape else array
    return array.swapaxes(1, 2) if spec.layout == "BTHD" else array


def arrays(spec: Spec, question: Question, content: Content) -> list[tuple[str, Bits, str]]:
    """The name of each array that goes in, its bits and its format."""
    vector, dtype = content.vector, question.dtype
    parts = (("query", vector.queries), ("key", vector.keys), ("value", vector.values))
    found = [(name, bits(laid_out(part.array, spec), dtype), dtype) for name, part in parts]
    told = vector.options
    if told.bias is not None:
        found.append((spec.bias, bits(told.bias.array, dtype), dtype))
    if told.mask is not None:
        found.append((spec.mask, seen(vector) ^ spec.hides, "bool"))
    if told.padding is not None:
        found.append((spec.padding, told.padding ^ spec.hides, "bool"))
    return [(name, np.ascontiguousarray(part), kind) for name, part, kind in found]


def options(spec: Spec, content: Content) -> dict[str, Any]:
    """What is told besides."""
    told: dict[str, Any] = {}
    if isinstance(spec.causal, str):
        told[spec.causal] = bool(content.vector.options.causal)
    if isinstance(spec.scale, str) and content.vector.options.scale is not None:
        told[spec.scale] = content.vector.options.scale
    return told


def described(name: str, array: Bits, dtype: str, spec: Spec) -> dict[str, Any]:
    """An array without its numbers."""
    return {"name": name, "dtype": dtype, "shape": list(array.shape), "device": spec.device}


def count(part: dict[str, Any]) -> int:
    """How many numbers."""
    return int(np.prod(part["shape"]))


def room(spec: Spec, question: Question) -> int:
    """Bytes that one content needs, its edges and those of the result included."""
    content = question.contents[0]
    inputs = sum(
        a.nbytes + 2 * EDGE * a.itemsize + 128 for _, a, _ in arrays(spec, question, content)
    )
    result = (int(np.prod(shape(content))) + 2 * EDGE) * 8 + 128
    return -(-max(inputs, result) // 4096) * 4096
