# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Episodes in several workers at once, and one policy, in the calling thread, for all of them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.suites.worker_process import WorkerLost, WorkerProcess

ATTEMPTS = 2  # a worker that dies may have been unlucky; twice is a fault to report

Arrays = Mapping[str, np.ndarray]
Asked = tuple[Mapping[str, Any], Arrays]  # header and arrays of an observation
Asking = Callable[[Sequence[Asked]], Sequence[np.ndarray]]  # observations → actions of each


@dataclass
class _Question:
    """What a worker's thread wants from the policy; answered by `reply`, None: give up."""

    asked: Asked
    reply: queue.Queue[np.ndarray | None] = field(default_factory=lambda: queue.Queue(1))


@dataclass(frozen=True)
class Finished:
    """An episode that ended.

    Attributes:
        request: that began it.
        over: the worker's account; None: every attempt ended in an error.
        error: of the last attempt; '' if it succeeded.
        attempts: how many there were.
        seconds: wall time of the last one.
        policy_seconds: of these waiting for the policy and computing.
    """

    request: Mapping[str, Any]
    over: Mapping[str, Any] | None
    error: str
    attempts: int
    seconds: float
    policy_seconds: float


class _GivenUp(Exception):
    """The run was stopped."""


def run_episodes(
    requests: Sequence[Mapping[str, Any]],
    start: Callable[[int], WorkerProcess],
    ask: Asking,
    workers: int,
    batch: int = 1,
) -> Iterator[Finished]:
    """Run episodes and yield each as it ends.

    Args:
        requests: to the workers, in order: neighbours should share what is slow to build.
        start: begins worker number n.
        ask: the policy: observations → actions (K, A) of each. Called in the thread that iterates.
            Its headers have the request, and the number of the `attempt`, too.
        workers: how many at once.
        batch: most observations that are asked at once. Whatever workers wait are answered, none
            is waited for.
    """
    events: queue.Queue[_Question | Finished | BaseException] = queue.Queue()
    stop = threading.Event()
    # Each worker takes a run of neighbours, so that it builds few tasks.
    shares = [part for part in np.array_split(np.arange(len(requests)), workers) if len(part)]
    threads = [
        threading.Thread(
            target=_work,
            args=([requests[i] for i in share], number, start, events, stop),
            daemon=True,
        )
        for number, share in enumerate(shares)
    ]
    for thread in threads:
        thread.start()
    unanswered: list[_Question] = []
    left = len(requests)
    try:
        while left:
            event = _next(events, wait=not unanswered)
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, Finished):
                left -= 1
                yield event
                continue
            if event is not None:
                unanswered.append(event)
            if event is None or len(unanswered) == batch:
                answers = ask([question.asked for question in unanswered])
                for question, answer in zip(unanswered, answers, strict=True):
                    question.reply.put(answer)
                unanswered = []
    finally:
        stop.set()
        for question in unanswered:
            question.reply.put(None)
        while any(thread.is_alive() for thread in threads):
            try:
                event = events.get(timeout=0.05)
            except queue.Empty:
                continue
            if isinstance(event, _Question):
                event.reply.put(None)


def _next(events: queue.Queue, wait: bool) -> _Question | Finished | BaseException | None:
    """Return the next event, or None where there is none and `wait` is false."""
    try:
        return events.get(block=wait)
    except queue.Empty:
        return None


def _work(
    requests: Sequence[Mapping[str, Any]],
    number: int,
    start: Callable[[int], WorkerProcess],
    events: queue.Queue,
    stop: threading.Event,
) -> None:
    worker: WorkerProcess | None = None
    try:
        for request in requests:
            for attempt in range(1, ATTEMPTS + 1):
                if stop.is_set():
                    return
                began, clock = time.monotonic(), [0.0]
                try:
                    worker = worker or start(number)
                    said = {**request, 'attempt': attempt}
                    over, error = _converse(worker, request, said, events, clock), ''
                except WorkerLost as lost:
                    over, error = None, str(lost)
                    if worker is not None:
                        worker.close()
                        worker = None
                if over is not None or attempt == ATTEMPTS:
                    seconds = time.monotonic() - began
                    events.put(Finished(request, over, error, attempt, seconds, clock[0]))
                    break
    except _GivenUp:
        pass
    except BaseException as error:
        events.put(error)
    finally:
        if worker is not None:
            worker.close()


def _converse(
    worker: WorkerProcess,
    request: Mapping[str, Any],
    said: Mapping[str, Any],
    events: queue.Queue,
    clock: list[float],
) -> Mapping[str, Any]:
    header, arrays = worker.ask(request)
    while 'over' not in header:
        question = _Question(({**said, **header}, arrays))
        asked = time.monotonic()
        events.put(question)
        actions = question.reply.get()
        clock[0] += time.monotonic() - asked
        if actions is None:
            raise _GivenUp
        header, arrays = worker.ask({'do': 'act'}, {'actions': actions})
    return header['over']
