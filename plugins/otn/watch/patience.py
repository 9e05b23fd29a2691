"""The same with many things at once, and not for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")


def within(
    limit_s: float, work: Callable[[_Thing], _Result], things: Sequence[_Thing], *, at_once: int = 8
) -> list[Future[_Result]]:
    """Do the work with each thing; what was not done in time is not ``done()``, and is not begun any more.

    A thread that hangs is left behind: it keeps neither the caller nor the end of the process waiting.

    Args:
        limit_s: seconds for all of it.
        work: what to do; what it raises stands in its future.
        things: what to do it with.
        at_once: so many at the same time.
    """
    futures: list[Future[_Result]] = [Future() for _ in things]
    todo: SimpleQueue[tuple[Future[_Result], _Thing]] = SimpleQueue()
    for one in zip(futures, things, strict=True):
        todo.put(one)

    def take() -> None:
        while True:
            try:
                future, thing = todo.get_nowait()
            except Empty:
                return
            try:
                future.set_result(work(thing))
            except BaseException as error:  # noqa: BLE001 - whoever asks the future is told
                future.set_exception(error)

    for _ in range(min(at_once, len(futures))):
        Thread(target=take, daemon=True).start()
    wait(futures, limit_s)
    while not todo.empty():
        try:
            todo.get_nowait()
        except Empty:
            break
    return futures
