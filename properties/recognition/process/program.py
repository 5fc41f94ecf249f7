"""The program while it runs: one line to it, one line back, and what became of it where none comes."""

from __future__ import annotations

import json
import os
import selectors
import shlex
import subprocess
import tempfile
import time
from typing import IO, Any

from properties.basics import doing, losing
from properties.basics.ending import end_group, signal_named
from properties.basics.errors import SubjectError

GRACE = 1.0  # seconds in which it may end by itself after its input is closed
LOOK = 0.5  # seconds between two signs of life while it is waited for
LINES = 5  # of what it wrote to standard error last, in messages
LONGEST = 1 << 30  # bytes without an end of line that are no answer
WATCH = "read line; kill -9 -{group}"
"""Ends the program's process group when this process is gone, however that came: then the pipe closes
from which it reads."""


class ProgramError(SubjectError):
    """The program did not answer as it has to: what happened, and its last words on standard error."""

    told_by_program = True


class HangError(ProgramError):
    """It did not answer in time."""


class RefusedError(ValueError):
    """It answered that it cannot: `error`, in its words."""

    told_by_program = True


class Program:
    """A command that is run without a shell, in a session of its own, and started anew where it has ended.

    folder: where it is run.
    """

    def __init__(self, command: str, folder: str | None = None) -> None:
        """ValueError where the command cannot be read, or is empty."""
        self.command, self.folder = command, folder
        self.words = shlex.split(command)
        if not self.words:
            raise ValueError("no command")
        self.child: subprocess.Popen[bytes] | None = None
        self.watch: subprocess.Popen[bytes] | None = None
        self.errors: IO[bytes] | None = None
        self.pending, self.number, self.hung, self.starts = b"", 0, 0, 0

    def start(self) -> None:
        """Run it; OSError where there is no such program, or no such folder."""
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - see `close`
        self.child = subprocess.Popen(
            self.words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            cwd=self.folder,
            start_new_session=True,
        )
        self.watch = subprocess.Popen(
            ["sh", "-c", WATCH.format(group=self.child.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pending, self.starts = b"", self.starts + 1
        for stream in (self.child.stdin, self.child.stdout):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)

    def close(self, grace: float = GRACE) -> None:
        """End it and all that it started."""
        child, watch, errors = self.child, self.watch, self.errors
        self.child = self.watch = self.errors = None
        if errors is not None:
            errors.close()
        if child is None:
            return
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()
        try:
            child.wait(timeout=grace)
        except subprocess.TimeoutExpired:
            pass
        finally:
            end_group(child.pid)
            child.wait()
        if watch is not None and watch.stdin is not None:
            watch.kill()
            watch.wait()
            watch.stdin.close()

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """The answer to a message.

        Raises ProgramError where there is none that can be read: the program is ended then. RefusedError
        where it says that it cannot answer.
        """
        if self.hung >= losing.PATIENCE:
            raise HangError(f"was not asked: it did not answer {self.hung} times before")
        if self.child is None:
            try:
                self.start()
            except OSError as error:
                self.close(0.0)
                raise ProgramError(f"could not be started: {error}") from error
        self.number += 1
        line = json.dumps({"id": self.number, **message}, allow_nan=False) + "\n"
        try:
            answer = self.read(self.exchanged(line.encode()))
        except BaseException:
            self.close(0.0)
            raise
        if "error" in answer:
            raise RefusedError(str(answer["error"])[:300])
        return answer

    def read(self, line: bytes) -> dict[str, Any]:
        """The answer in a line."""
        shown = line[:320].decode(errors="replace").strip()[:80]
        try:
            answer = json.loads(line.decode())
        except (ValueError, RecursionError):  # no UTF-8, no JSON, or too deep
            raise self.failed(
                f"wrote {shown!r} to standard output; expected one line of JSON in UTF-8 for each "
                "message, and everything else on standard error"
            ) from None
        if not isinstance(answer, dict):
            raise self.failed(f"answered {shown!r}; expected a JSON object")
        if answer.get("id") != self.number:
            raise self.failed(
                f"answered message {answer.get('id')!r} where message {self.number} was asked; "
                "expected one answer to each, with its id"
            )
        return answer

    def exchanged(self, block: bytes) -> bytes:
        """The line that comes back; what is written and read goes on at once, so that nobody waits."""
        assert self.child is not None
        into, out = self.child.stdin, self.child.stdout
        assert into is not None
        assert out is not None
        until = time.monotonic() + losing.seconds()
        last = time.monotonic()
        received = [self.pending]
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            selector.register(into, selectors.EVENT_WRITE)
            while b"\n" not in received[-1]:
                now = time.monotonic()
                if now >= until:
                    raise self.hangs()
                if now - last > LOOK:
                    doing.tell()
                    last = now
                for key, _ in selector.select(min(LOOK, until - now)):
                    if key.fileobj is into:
                        block = self.sent(into.fileno(), block)
                        if not block:
                            selector.unregister(into)
                    else:
                        received.append(self.received(out.fileno()))
                if sum(map(len, received[-2:])) > LONGEST:
                    raise self.failed(f"wrote {LONGEST} bytes without an end of line")
        line, _, self.pending = b"".join(received).partition(b"\n")
        return line

    def sent(self, descriptor: int, block: bytes) -> bytes:
        """What is left to write."""
        try:
            return block[os.write(descriptor, block[: 1 << 16]) :]
        except BrokenPipeError:
            raise self.ended() from None

    def received(self, descriptor: int) -> bytes:
        """What has come."""
        block = os.read(descriptor, 1 << 20)
        if not block:
            raise self.ended()
        return block

    def ended(self) -> ProgramError:
        """It closed its end: how it ended."""
        assert self.child is not None
        try:
            code = self.child.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            return self.failed("closed its standard input or output without an answer")
        if code < 0:
            return self.failed(f"was ended by {signal_named(-code)} without an answer")
        return self.failed(f"ended with exit code {code} without an answer")

    def hangs(self) -> ProgramError:
        """No answer came in time. Who runs in a process of its own is told, and does not come back."""
        self.hung += 1
        what = f"gave no answer within {losing.seconds():g} s"
        losing.lost(
            what,
            self.last_words().removeprefix("; ").replace("standard error", "Standard error", 1),
        )
        return HangError(what + self.last_words())

    def failed(self, what: str) -> ProgramError:
        """What happened, with its last words."""
        return ProgramError(what + self.last_words())

    def last_words(self) -> str:
        """The last lines that it wrote to standard error, to continue a sentence."""
        if self.errors is None:
            return ""
        end = self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, end - 4096))
        lines = self.errors.read().decode(errors="replace").strip().splitlines()[-LINES:]
        return f"; standard error ends with: {' | '.join(lines)[-600:]}" if lines else ""
