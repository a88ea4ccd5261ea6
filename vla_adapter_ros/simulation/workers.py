# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Runs items of work in this process or in several, each with a worker object of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, Protocol, TypeVar

from vla_adapter_ros.errors import VLAAdapterError

Item = TypeVar('Item')
Result = TypeVar('Result')


class Worker(Protocol):
    """An object that one process keeps for all its items."""

    def close(self) -> None:
        """Free the renderer."""
        ...


_worker: Any = None


def _start(make: Callable[[Any], Worker], settings: Any) -> None:
    global _worker
    _worker = make(settings)


def _call(work: Callable[[Any, Item], Result], item: Item) -> Result:
    return work(_worker, item)


def run_in_workers(
    make: Callable[[Any], Worker],
    settings: Any,
    work: Callable[[Any, Item], Result],
    items: Sequence[Item],
    workers: int,
) -> Iterator[Result]:
    """Yield `work(worker, item)` of each item, in order.

    Args:
        make: makes a process's worker from the settings; a function of a module, as `work`.
        settings: plain data.
        work: does one item.
        items: plain data.
        workers: number of processes; 1: this one.

    Raises:
        VLAAdapterError: a process ended early, for instance because `make` failed in it.
    """
    if workers == 1:
        worker = make(settings)
        try:
            yield from (work(worker, item) for item in items)
        finally:
            worker.close()
        return
    # New processes: a GL context does not survive a fork.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(workers, context, _start, (make, settings)) as pool:
        try:
            yield from pool.map(partial(_call, work), items)
        except BrokenProcessPool as error:
            raise VLAAdapterError('a worker process ended early; its error is above') from error
