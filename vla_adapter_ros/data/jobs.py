# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Conversions in several processes, and what they report."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any, TypeVar

KILLED = 'its process was killed (out of memory?); try fewer --workers'
Job = TypeVar('Job')
Outcome = TypeVar('Outcome')


@dataclass
class Conversion:
    """The result of a conversion.

    Attributes:
        reports: of the episodes converted now; of bags see `BagEpisode.report`.
        present: bags or episodes that were already in the dataset.
        parts: bag → the number of its parts, of bags that were split now.
        dropped: bag → what of it no part was made of, and why.
        failed: bag, part of one, or episode → why it was skipped.
        left_out: bags or episodes that are not marked as success, if only those were wanted.
        taken_out: bags or episodes that were in the dataset until an edit took them out.
        seconds: it took.
    """

    reports: list[dict[str, Any]] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    parts: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    taken_out: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run_jobs(
    work: Callable[[Job], Outcome],
    jobs: Sequence[Job],
    workers: int,
    killed: Callable[[Job], Outcome],
) -> Iterator[Outcome]:
    """Yield the outcome of each job, in order.

    Args:
        work: sent to each process once, so it may carry what all jobs need.
        jobs: what to do; plain data.
        workers: processes.
        killed: makes the outcome of a job whose process was killed (`KILLED`).
    """
    if workers <= 1 or len(jobs) < 2:
        yield from map(work, jobs)
        return
    # A forked process would share the encoders and locks of this one.
    context = multiprocessing.get_context('spawn')
    count = min(workers, len(jobs))
    with ProcessPoolExecutor(count, context, _set_work, (work,)) as pool:
        for job, future in [(job, pool.submit(_run, job)) for job in jobs]:
            try:
                yield future.result()
            except BrokenProcessPool:
                yield killed(job)


_WORK: Callable[[Any], Any]


def _set_work(work: Callable[[Any], Any]) -> None:
    global _WORK
    _WORK = work


def _run(job: Any) -> Any:
    return _WORK(job)
