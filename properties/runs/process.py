"""One process in which a target is imported and run, and how it was lost."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from properties.basics.ending import end_group, signal_named

GRACE = 2.0  # seconds in which a process may end by itself
START = 120.0  # seconds for our own imports, which are not the subject's to answer for
LOOK = 0.2  # seconds after which it is asked whether it still lives
PHRASE = 200  # bytes in which the process notes what it does with the subject
# -P: a file of the user's that is called properties.py must not come before this package.
WORKER = ("-P", "-m", "properties.worker")


@dataclass(frozen=True)
class Loss:
    """how: what happened, to continue the subject's name; where: what it was made to do."""

    how: str
    where: str = ""
    advice: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.how, self.where) if part)


class Lost(Exception):
    """The process is gone, and with it the answer."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(str(loss))
        self.loss = loss


class Process:
    """A Python in a session of its own: whatever it starts is ended with it.

    timeout: seconds without a sign of life after which it is taken to hang; program: what Python is
    told, `properties.worker` unless given; handed: descriptors that it has besides, named last.
    """

    def __init__(
        self, timeout: float, program: Sequence[str] = WORKER, handed: tuple[int, ...] = ()
    ) -> None:
        self.timeout = timeout
        self.files = ExitStack()
        self.phrase, self.errors = (
            self.files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - see `close`
            for _ in range(2)
        )
        self.started = False
        commands, self.commands = os.pipe()  # its end of file tells the worker that we are gone
        self.events, events = os.pipe()
        theirs = (commands, events, self.phrase.fileno(), *handed)
        self.child = subprocess.Popen(
            [sys.executable, *program, *map(str, theirs)],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            env=environment(),
            start_new_session=True,
        )
        os.close(commands)
        os.close(events)

    def ask(self, command: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Send a command and yield the events of its answer; raises `Lost`."""
        message = json.dumps({"command": command, **arguments}) + "\n"
        try:
            send(self.commands, message.encode())
        except BrokenPipeError:
            raise Lost(self.death()) from None
        for line in self.lines():
            event = parsed(line)
            if event is None:
                raise Lost(Loss("wrote into a pipe that is not its own", self.where()))
            if event["event"] == "done":
                return
            if event["event"] == "lost":
                raise Lost(Loss(event["how"], self.where(), event["advice"]))
            yield event
        raise Lost(self.death())

    def lines(self) -> Iterator[bytes]:
        """The lines that arrive until the process ends; `Lost` if nothing comes for too long."""
        pending, last = b"", time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self.events, selectors.EVENT_READ)
            while True:
                ended = self.child.poll() is not None  # a child of its own may hold the pipe
                if not selector.select(0.0 if ended else min(LOOK, self.timeout)):
                    if ended:
                        return
                    limit = self.timeout if self.started else max(self.timeout, START)
                    if time.monotonic() - last > limit:
                        raise Lost(Loss(f"did not return within {limit:g} s", self.where()))
                    continue
                self.started = True
                block, last = os.read(self.events, 65536), time.monotonic()
                if not block:
                    return
                *complete, pending = (pending + block).split(b"\n")
                yield from complete

    def where(self) -> str:
        """What the process was last made to do with the subject."""
        return os.pread(self.phrase.fileno(), PHRASE, 0).decode(errors="replace").rstrip("\0 ")

    def death(self) -> Loss:
        """How it ended, after it closed its end."""
        try:
            code = self.child.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            return Loss("closed files that are not its own", self.where())
        self.errors.seek(0)
        last = self.errors.read().decode(errors="replace").strip().splitlines()[-1:]
        text = f" ({last[0][:200]})" if last else ""
        if code < 0:
            return Loss(f"killed the process by {signal_named(-code)}{text}", self.where())
        return Loss(f"ended the process with exit code {code}{text}", self.where())

    def end(self) -> None:
        """End it and all that it started, at once; whoever waits for an answer is told of the loss."""
        end_group(self.child.pid)

    def close(self, grace: float = GRACE) -> None:
        """End it and all that it started, and give back what it needed."""
        for descriptor in (self.commands, self.events):
            os.close(descriptor)
        try:
            self.child.wait(timeout=grace)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.end()
            self.child.wait()
            self.files.close()


def parsed(line: bytes) -> dict[str, Any] | None:
    """An event; None for what is none."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def send(descriptor: int, block: bytes) -> None:
    """Write all of it."""
    while block:
        block = block[os.write(descriptor, block) :]


def environment() -> dict[str, str]:
    """The environment here, with the import path, so that the worker finds the same packages."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": path}
