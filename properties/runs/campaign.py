"""Many pieces of work by an engine, each finished one on disk at once; nothing finished is asked again."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, field
from typing import Any

from properties.runs.engines import Engine
from properties.runs.journal import Journal, Line, Piece, key

PATIENCE = 3  # deaths of a worker that has one piece alone, after which that piece is lost
Listener = Callable[[int, int, float], None]  # pieces finished, in all, seconds that the rest takes


@dataclass
class Campaign:
    """The pieces of one run of a campaign. `ask` is a function that every worker can import; what it
    returns is plain data, and joins the piece's line.
    """

    ask: Callable[[Piece], Line]
    engine: Engine
    journal: Journal
    listen: Listener = lambda finished, total, left: None
    arrived: Callable[[Line], None] = lambda line: None
    running: dict[Future[Any], Piece] = field(default_factory=dict)
    suspects: deque[Piece] = field(default_factory=deque)  # had by workers when one of these died
    deaths: Counter[str] = field(default_factory=Counter)  # by piece: of a worker that had it alone

    def carry_out(self, pieces: Iterable[Piece]) -> list[Line]:
        """The lines of all pieces, in their order: those found in the journal, and the others asked now.

        What a dead worker had is asked again; once PATIENCE workers have died of a piece, with nothing
        else at work, its line says so, and the next run of the campaign tries it again.
        """
        pieces = list(pieces)
        waiting = deque(piece for piece in pieces if not self.finished(piece))
        known, start = len(pieces) - len(waiting), time.monotonic()
        self.listen(known, len(pieces), 0.0)
        while waiting or self.running or self.suspects:
            self.hand_out(waiting)
            for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                if future in self.running:
                    self.take(future)
            left = len(waiting) + len(self.running) + len(self.suspects)
            done = len(pieces) - left
            each = (time.monotonic() - start) / max(done - known, 1)
            self.listen(done, len(pieces), each * left)
        return [self.journal.lines[key(piece)] for piece in pieces]

    def finished(self, piece: Piece) -> bool:
        """Whether the journal has an answer to the piece."""
        return "lost" not in self.journal.lines.get(key(piece), {"lost": ""})

    def hand_out(self, waiting: deque[Piece]) -> None:
        """As many as the engine takes at once; a suspect alone."""
        if self.suspects:
            if not self.running:
                self.submit(self.suspects.popleft())
            return
        while waiting and len(self.running) < self.engine.width:
            self.submit(waiting.popleft())

    def submit(self, piece: Piece) -> None:
        """Hand one out."""
        self.running[self.engine.submit(self.ask, dict(piece))] = piece

    def take(self, future: Future[Any]) -> None:
        """One answer; a death of a local worker takes along all that its pool had."""
        piece, alone = self.running.pop(future), not self.running
        try:
            self.add({"piece": dict(piece), **future.result()})
        except BrokenExecutor as error:
            self.engine.renew()
            if alone:
                self.deaths[key(piece)] += 1
            if self.deaths[key(piece)] >= PATIENCE:
                self.add({"piece": dict(piece), "lost": f"{PATIENCE} workers died of it: {error}"})
            else:
                self.suspects.append(piece)
            for other in list(self.running):  # all of them were broken by the same death
                self.suspects.append(self.running.pop(other))
        except Exception as error:
            self.add({"piece": dict(piece), "lost": f"{type(error).__name__}: {error}"})

    def add(self, line: Line) -> None:
        """A finished piece: first on disk, then told."""
        self.journal.add(line)
        self.arrived(line)
