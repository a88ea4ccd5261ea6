# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Batches prepared ahead by threads, in the order of `BatchOrder`.

Threads and not processes: copying and decoding frames frees the interpreter lock, nothing has to
be sent between processes, and there is nothing to fork.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from vla_adapter_ros.data.training.dataset import Batch, Dataset
from vla_adapter_ros.data.training.mixture import BatchOrder, Mixture


def load_batches(
    mixture: Mixture,
    order: BatchOrder,
    *,
    start: int = 0,
    stop: int | None = None,
    workers: int = 2,
    ahead: int = 4,
) -> Iterator[Batch]:
    """Yield the batches of steps `start` to `stop` (forever if None).

    The same batches come for any number of workers. Errors of a worker are raised here, at the
    batch they belong to.

    Args:
        mixture: the datasets.
        order: which observations make which batch.
        start: first step; the step to resume at.
        stop: step after the last.
        workers: threads; 0 loads in the caller's thread.
        ahead: batches each worker prepares ahead.
    """
    steps = order.steps(start, stop)
    if workers == 0:
        for step in steps:
            yield mixture.batch(*order.batch(step))
        return
    pool = ThreadPoolExecutor(workers, 'load')
    pending: deque[Future[Batch]] = deque()
    try:
        for step in steps:
            # The order is computed here, in one thread: it caches its last shuffle.
            pending.append(pool.submit(mixture.batch, *order.batch(step)))
            if len(pending) >= workers * ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def validation_batches(
    dataset: Dataset, batch_size: int, max_batches: int, start: int = 0, every: int = 1
) -> Iterator[Batch]:
    """Yield the same batches every time: of all observations, or of evenly spaced ones.

    Only batch `start` and each `every`-th one after it: the part of one process.
    """
    wanted = min(len(dataset), max_batches * batch_size)
    indices = np.unique(np.linspace(0, len(dataset) - 1, wanted).round().astype(np.int64))
    for first in range(start * batch_size, len(indices), every * batch_size):
        yield dataset.batch(indices[first : first + batch_size])
