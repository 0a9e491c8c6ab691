"""Virtual time: an event loop that never waits, and processes in it that can be killed between any two steps.

When nothing is ready to run, the time of the earliest timer is now. What `asyncio` promises (callbacks in the order
they were called for) holds; which order that is, is a matter of the seed: of drawn delays of network, disk and threads.

A process is a context: whatever is started in it, and whatever that starts, belongs to it. A killed process takes not
one step more, not even in its `finally` blocks, as it is with kill -9.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from random import Random
from typing import Any

PROCESS: ContextVar["Process | None"] = ContextVar("process", default=None)
THREAD_S = 0.002
"""Mean time that work in another thread takes."""


DISPOSALS = 20
DISPOSAL_S = 3.0


class Stuck(Exception):
    """Nothing will ever happen again, but the simulation waits for something."""


class Process:
    """What is killed as a whole.

    Attributes:
        alive: whether it may take further steps.
        died: called once, when it is killed.
    """

    def __init__(self, name: str, loop: "VirtualLoop") -> None:
        self.name = name
        self.alive = True
        self.died: list[Callable[[], None]] = []
        self._loop = loop
        self.main: asyncio.Task[Any] | None = None
        self._steps_left: int | None = None
        self._context = copy_context()
        self._context.run(PROCESS.set, self)
        loop.processes.append(self)

    def start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Begin to run `work` as this process."""
        self.main = self._context.run(self._loop.create_task, work)
        return self.main

    def kill_after(self, steps: int) -> None:
        """Kill it once it has taken so many more steps; 0: now."""
        if steps <= 0:
            self.kill()
        elif self.alive:
            self._steps_left = steps

    def spare(self) -> None:
        """It is not to be killed after all."""
        self._steps_left = None

    def kill(self) -> None:
        """It ends here."""
        if self.alive:
            self.alive = False
            for tell in self.died:
                tell()

    def step(self) -> bool:
        """Whether a step may be taken; counts those that are left."""
        if not self.alive:
            return False
        if self._steps_left is not None:
            self._steps_left -= 1
            if self._steps_left < 0:
                self.kill()
        return self.alive


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets, signals, threads and waiting."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.steps = 0
        self._rng = rng
        self._now_s = 0.0
        self._unfinished: list[asyncio.Task[Any]] = []
        self._passed_over: list[asyncio.Handle] = []
        self._disposing = False
        self.failures: list[BaseException | str] = []
        self.set_exception_handler(self._note_failure)
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self._now_s

    def dispose(self) -> None:
        """Let all that was killed or left over come to its end by cancellation, where nobody sees it any more."""
        self._disposing = True
        for _ in range(DISPOSALS):
            pending = [task for task in self._unfinished if not task.done()]
            if not pending:
                break
            for task in pending:
                task.cancel()
            self._ready.extend(self._passed_over)  # steps that a killed process did not take
            self._passed_over.clear()
            self.call_later(DISPOSAL_S, self.stop)
            self.run_forever()
        self._unfinished.clear()
        self._ready.clear()
        self._scheduled.clear()
        self.close()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        """Run it here, a little later, as if a thread had done it."""
        done = self.create_future()

        def run() -> None:
            if done.cancelled():
                return
            try:
                result = func(*args)
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(result)

        self.call_later(self._rng.expovariate(1 / THREAD_S), run)
        return done

    def _make_task(self, loop: Any, coroutine: Any, **more: Any) -> "asyncio.Task[Any]":
        task = asyncio.Task(coroutine, loop=loop, **more)
        self._unfinished.append(task)
        if len(self._unfinished) > 4096:
            self._unfinished = [each for each in self._unfinished if not each.done()]
        return task

    def _note_failure(self, loop: Any, context: dict[str, Any]) -> None:
        if not self._disposing:
            self.failures.append(context.get("exception") or str(context.get("message")))

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not ready:
            if not scheduled:
                raise Stuck(f"nothing is left to happen after {self._now_s:.3f} s")
            self._now_s = max(self._now_s, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self._now_s:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is not None and not self._disposing and not process.step():
                self._passed_over.append(handle)
                continue
            self.steps += 1
            handle._run()

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """A killed process closes nothing."""
