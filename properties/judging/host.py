"""The process in which untrusted functions run. Its text is handed to a Python of its own, which cannot
import this package: nothing here imports any of it, and no expected value comes here.

torch is imported once; each function is loaded and called in a copy of the process. Commands come as one
JSON object a line on the descriptor named by the first argument, answers go to that named by the second;
arrays lie in the file named by the fourth. Functions of torch that are used here are held from the start.
"""

from __future__ import annotations

import importlib.util
import json
import mmap
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

EDGE = 64  # numbers before and behind each array, all NaN
OWN = (
    "aten::scaled_dot_product_attention",
    "aten::_scaled_dot_product",
    "aten::_native_multi_head_attention",
    "aten::_flash_attention",
    "aten::_efficient_attention",
)
"""How the names of torch's own attentions begin."""
WATCHED = {
    "torch": "allclose equal isclose eq abs max sub empty zeros randn",
    "torch.Tensor": "allclose equal isclose eq abs max sub copy_ cpu numpy clone __eq__ __sub__",
    "torch.testing": "assert_close",
    "torch.cuda": "synchronize Event",
    "numpy": "allclose isclose array_equal abs max",
    "time": "time perf_counter perf_counter_ns monotonic process_time",
    "builtins": "abs max min all any isinstance open float",
}
"""By which others compare and measure."""


def main() -> None:
    """Import torch, then load one function after the other, each in a copy."""
    commands, events = int(sys.argv[1]), int(sys.argv[2])

    def tell(event: str, **content: Any) -> None:
        os.write(events, (json.dumps({"event": event, **content}) + "\n").encode())

    def heard() -> Any:
        text = b""
        while not text.endswith(b"\n"):
            block = os.read(commands, 65536)
            if not block:
                os._exit(0)
            text += block
        return json.loads(text)

    first = heard()
    sys.path[:] = first["path"]
    sys.meta_path[:] = [f for f in sys.meta_path if "__editable__" not in repr(f)]
    import torch

    tell("done")
    while True:
        message = heard()
        process = os.fork()
        if not process:
            memory = mmap.mmap(int(sys.argv[4]), 0)
            Hosted(torch, memory, tell, message).serve(heard)
        _, status = os.waitpid(process, 0)
        tell("ended", code=os.waitstatus_to_exitcode(status))
        tell("done")


class Hosted:
    """One function in its copy of the process."""

    def __init__(self, torch: Any, memory: Any, tell: Callable[..., None], message: Any) -> None:
        self.torch, self.memory, self.tell, self.message = torch, memory, tell, message
        self.asked: Any = None
        self.storages: dict[tuple[str, str], Any] = {}
        self.held: list[Any] = []
        self.copy, self.empty, self.full = torch.Tensor.copy_, torch.empty, torch.full
        self.frombuffer, self.settle = torch.frombuffer, torch.cuda.synchronize
        self.before = standing()

    def serve(self, heard: Callable[[], Any]) -> None:
        """Load it and answer commands until the last one."""
        self.torch.set_deterministic_debug_mode("warn")  # so torch.empty is filled with NaN
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 2)  # its warnings are nobody's
        message = self.message
        watch(message["guarded"], os.path.dirname(message["file"]), self.tell)
        try:
            self.function = load(message["file"], message["name"])
        except BaseException as error:
            self.tell("refused", what=said(error))
            os._exit(0)  # the end of this copy is the end of the answer
        self.tell("loaded")
        self.tell("done")
        while (message := heard())["command"] != "finish":
            getattr(self, message["command"])(message)
            self.tell("done")
        changed = [name for name, what in standing().items() if what is not self.before[name]]
        self.tell("replaced", names=changed)
        os._exit(0)

    def call(self, message: Any) -> None:
        """Fill the inputs, call, hand over the result and the inputs as they are then."""
        inputs = self.filled(message)
        answer = self.answered(inputs, message)
        if answer is not None:
            self.hand_over(answer, message)
        for part in message["inputs"]:
            storage = self.storages[message["storage"], part["name"]][0]
            self.write(storage, part["back"])

    def refill(self, message: Any) -> None:
        """Other content in the storage of an earlier call."""
        self.filled(message)

    def again(self, message: Any) -> None:
        """A result that is held from an earlier call, as it is now."""
        self.hand_over(self.held[message["number"]], message)

    def burst(self, message: Any) -> None:
        """One call after the other, with nothing in between; their results are held."""
        sides = [(self.filled(one), one) for one in message["calls"]]
        for number in range(message["times"]):
            if self.answered(*sides[number % len(sides)]) is None:
                return

    def filled(self, message: Any) -> dict[str, Any]:
        """Tensors with the content that lies in memory, in the storage that they had before."""
        if message["question"] != self.asked:
            self.asked = message["question"]
            self.storages, self.held = {}, []
        found = {}
        for part in message["inputs"]:
            key = message["storage"], part["name"]
            if key not in self.storages:
                self.storages[key] = self.framed(part)
            view = self.storages[key][1]
            self.copy(view, self.read(part))
            found[part["name"]] = view
        return found

    def framed(self, part: Any) -> tuple[Any, Any]:
        """A storage with edges, and the array inside."""
        kind, shape = getattr(self.torch, part["dtype"]), part["shape"]
        number = count(shape)
        rest = True if part["dtype"] == "bool" else float("nan")
        whole = self.full((number + 2 * EDGE,), rest, dtype=kind, device=part["device"])
        return whole, whole[EDGE : EDGE + number].view(shape)

    def answered(self, inputs: dict[str, Any], message: Any) -> Any:
        """The function's result, held; None where there is none."""
        options = dict(message["options"])
        positional = [inputs[name] for name in ("query", "key", "value")]
        keywords = {n: x for n, x in inputs.items() if n not in ("query", "key", "value")}
        frame = None
        if message["out"]:
            frame = self.framed(message["result"])
            keywords[message["out"]] = frame[1]
        profile = self.profiled() if message["recorded"] else nullcontext()
        try:
            with profile as seen:
                answer = self.function(*positional, **keywords, **options)
            if message["result"]["device"] != "cpu":
                self.settle()
        except BaseException as error:
            self.tell("raised", what=said(error))
            return None
        if seen is not None:
            self.tell_of_library(seen)
        answer = frame[0] if frame is not None else answer
        if type(answer) not in (self.torch.Tensor, self.torch.nn.Parameter):
            self.tell("answer", type=type(answer).__name__, dtype="", shape=[])
            return None
        self.held.append(answer.detach())
        return self.held[-1]

    def profiled(self) -> Any:
        """A record of every operation."""
        return self.torch.autograd.profiler.profile(use_kineto=False)

    def tell_of_library(self, seen: Any) -> None:
        """Say which of torch's own attentions were called."""
        called = sorted({e.name for e in seen.function_events if e.name.startswith(OWN)})
        if called:
            self.tell("library", names=called)

    def hand_over(self, answer: Any, message: Any) -> None:
        """Say what it is, and write it where it is read, if it fits there."""
        dtype = str(answer.dtype).removeprefix("torch.")
        fits = list(answer.shape) == message["result"]["whole"]
        if fits and dtype == message["result"]["dtype"]:
            self.write(answer, message["result"]["at"])
        self.tell("answer", type="Tensor", dtype=dtype, shape=list(answer.shape))

    def write(self, answer: Any, at: int) -> None:
        """Numbers into memory."""
        number = count(answer.shape)
        if number:
            place = self.frombuffer(self.memory, dtype=answer.dtype, count=number, offset=at)
            self.copy(place.view(answer.shape), answer)

    def read(self, part: Any) -> Any:
        """Numbers from memory."""
        kind, number = getattr(self.torch, part["dtype"]), count(part["shape"])
        place = self.frombuffer(self.memory, dtype=kind, count=number, offset=part["at"])
        return place.view(part["shape"])


def count(shape: Any) -> int:
    """How many numbers."""
    number = 1
    for size in shape:
        number *= size
    return number


def said(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def load(file: str, name: str) -> Any:
    """The function of that name in a file."""
    sys.path.insert(0, os.path.dirname(file))
    spec = importlib.util.spec_from_file_location("candidate", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["candidate"] = module
    spec.loader.exec_module(module)
    return getattr(module, name)


def standing() -> dict[str, Any]:
    """What stands under the names by which others compare and measure."""
    found = {}
    for home, names in WATCHED.items():
        owner: Any = sys.modules.get(home) or getattr(
            sys.modules["torch"], home.split(".")[-1], None
        )
        for name in names.split():
            found[f"{home}.{name}"] = getattr(owner, name, None)
    return found


def watch(guarded: list[str], home: str, tell: Callable[..., None]) -> None:
    """Refuse, and tell of, what reads the package that judges or another process's memory."""
    resolve, exists, sep = os.path.realpath, os.path.exists, os.sep
    own = {"self", "thread-self", str(os.getpid())}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import" and arguments[0] in ("properties", "attention"):
            mine = f"{home}{sep}{arguments[0]}"
            if not exists(f"{mine}.py") and not exists(mine):
                tell("watched", what=f"imports {arguments[0]}")
                raise ImportError(f"{arguments[0]} cannot be imported here")
        if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str | bytes):
            path = resolve(os.fsdecode(arguments[0]))
            parts = path.split(sep)
            other = parts[:2] == ["", "proc"] and parts[2:3] != [] and parts[2].isdigit()
            if path.startswith(tuple(guarded)) or (other and parts[2] not in own):
                tell("watched", what=f"opens {path}")
                raise PermissionError(f"{path} cannot be read here")

    sys.addaudithook(hook)


if __name__ == "__main__":
    main()
