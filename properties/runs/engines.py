"""Who carries out the pieces of a campaign: processes of this machine, dask's workers, or ray's."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from properties.basics.errors import QuestionError

ENGINES = ("local", "dask", "ray")
Ask = Callable[[Any], Any]


class Here:
    """The process itself, one piece after the other."""

    width = 1

    def submit(self, ask: Ask, piece: Any) -> Future[Any]:
        """The answer, there already."""
        answer: Future[Any] = Future()
        answer.set_result(ask(piece))
        return answer

    def renew(self) -> None:
        """It lives as long as the campaign does."""


@dataclass
class Local:
    """Processes of this machine, each with one piece at a time. All are replaced once one of them dies."""

    jobs: int
    pool: Executor | None = None

    @property
    def width(self) -> int:
        """How many pieces are handed out at once: what dies can only be one of them."""
        return self.jobs

    def submit(self, ask: Ask, piece: Any) -> Future[Any]:
        """The answer to come; an error of the pool itself is BrokenProcessPool."""
        if self.pool is None:  # torch's threads do not survive a fork
            context = multiprocessing.get_context("spawn")
            deaf = (signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to answer
            self.pool = ProcessPoolExecutor(self.jobs, context, signal.signal, deaf)
        try:
            return self.pool.submit(ask, piece)
        except BrokenExecutor as error:  # a worker died since the last piece was handed out
            broken: Future[Any] = Future()
            broken.set_exception(error)
            return broken

    def renew(self) -> None:
        """Begin anew after a death."""
        self.close()

    def close(self) -> None:
        """Hand out no more, and wait for nothing."""
        if self.pool is not None:
            self.pool.shutdown(wait=False, cancel_futures=True)
            self.pool = None


@dataclass
class Remote:
    """A cluster, which hands a piece of a dead worker to another one by itself."""

    hand: Callable[[Ask, Any], Future[Any]]
    width: int

    def submit(self, ask: Ask, piece: Any) -> Future[Any]:
        """The answer to come."""
        return self.hand(ask, piece)

    def renew(self) -> None:
        """The cluster replaces its workers."""


Engine = Here | Local | Remote


@contextmanager
def started(name: str, jobs: int, address: str | None) -> Iterator[Engine]:
    """An engine; address: of a cluster that there is, otherwise one of so many workers is started here.

    Raises QuestionError for an engine that there is not, or that is not installed.
    """
    makers = {"local": local, "dask": on_dask, "ray": on_ray}
    if name not in makers:
        raise QuestionError(f"no engine {name!r}; expected one of {', '.join(ENGINES)}")
    try:
        with makers[name](jobs, address) as engine:
            yield engine
    except ModuleNotFoundError as error:
        if error.name not in ("distributed", "ray"):
            raise
        raise QuestionError(
            f"--engine {name} needs what is not installed: pip install attention-properties[{name}]"
        ) from error


@contextmanager
def local(jobs: int, address: str | None) -> Iterator[Engine]:
    """Processes of this machine."""
    if address is not None:
        raise QuestionError("--address is of a cluster; it goes with --engine dask or ray")
    engine, before = Local(jobs), multiprocessing.active_children()
    try:
        yield engine
    except BaseException:
        for child in multiprocessing.active_children():
            if child not in before:  # a worker: nobody waits for what it is at
                child.terminate()
        raise
    finally:
        engine.close()


@contextmanager
def on_dask(jobs: int, address: str | None) -> Iterator[Engine]:
    """dask.distributed: its workers need this package and the targets."""
    dask: Any = import_module("distributed")  # it has no types
    with ExitStack() as stack:
        cluster = address
        if address is None:
            own = dask.LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None)
            cluster = stack.enter_context(own)
        client = stack.enter_context(dask.Client(cluster))
        executor = client.get_executor(pure=False)
        threads = sum(client.nthreads().values())
        yield Remote(executor.submit, 2 * max(threads, jobs))


@contextmanager
def on_ray(jobs: int, address: str | None) -> Iterator[Engine]:
    """ray: its workers need this package and the targets."""
    import ray

    ray.init(address=address, num_cpus=None if address else jobs, include_dashboard=False)
    try:
        remote = ray.remote(max_retries=3)(asked)
        width = 2 * max(jobs, int(ray.cluster_resources().get("CPU", 1)))
        yield Remote(lambda ask, piece: remote.remote(ask, piece).future(), width)
    finally:
        ray.shutdown()


def asked(ask: Ask, piece: Any) -> Any:
    """What ray runs."""
    return ask(piece)
