# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The thread that owns the server's policy, and computes its answers."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.errors import ServerError
from vla_adapter_ros.server.codec import MOST_TEXT_BYTES
from vla_adapter_ros.server.protocol import Request, Served, answer_message

if TYPE_CHECKING:
    from vla_adapter_ros.inference.chunk import PipelinePolicy


class PolicyThread:
    """Builds a policy and answers requests in the order of their arrival.

    What waits when the network is free is computed together, up to `batch`; nothing is waited for.

    Args:
        make_policy: loads and warms up the policy; called in the thread, because a CUDA graph must
            be captured and replayed by one thread.
        batch: most observations at once. Above 1, actions of clients that ask together differ from
            those that each would get alone by rounding.
    """

    def __init__(self, make_policy: Callable[[], PipelinePolicy], batch: int = 1) -> None:
        self._make_policy = make_policy
        self._batch = batch
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self.loaded: Future[Served] = Future()
        # A daemon: a model that hangs must not keep the process from exiting.
        self._thread = threading.Thread(target=self._run, name='policy', daemon=True)

    def start(self) -> None:
        """Begin to load; `loaded` has the result, or why it failed."""
        self._thread.start()

    def submit(self, request: Request) -> Future[dict[str, Any]]:
        """Return the future answer. It raises ServerError if the deadline passes in the queue."""
        future: Future[dict[str, Any]] = Future()
        self._jobs.put(_Job(request, time.monotonic(), future))
        return future

    def _run(self) -> None:
        self.loaded.set_running_or_notify_cancel()  # nobody can cancel it from here on
        try:
            policy = self._make_policy()
            self.loaded.set_result(served_by(policy))
        except BaseException as error:  # raised by whoever waits for the result
            self.loaded.set_exception(error)
            return
        while True:
            jobs = [self._jobs.get()]
            with contextlib.suppress(queue.Empty):
                while len(jobs) < self._batch:
                    jobs.append(self._jobs.get_nowait())
            _answer(policy, [job for job in jobs if job.begins_in_time()])


@dataclass
class _Job:
    """A request, when it arrived (`time.monotonic()`), its answer, and how long it waited [s]."""

    request: Request
    arrived: float
    future: Future[dict[str, Any]]
    waited: float = 0.0

    def begins_in_time(self) -> bool:
        """Note that its inference begins; return whether its actions are still wanted."""
        if not self.future.set_running_or_notify_cancel():
            return False
        self.waited, deadline = time.monotonic() - self.arrived, self.request.deadline
        if self.waited <= deadline:
            return True
        self.future.set_exception(
            ServerError(
                f'the request waited {self.waited:.2f} s, its deadline was {deadline:.2f} s: '
                'not computed'
            )
        )
        return False


def _answer(policy: PipelinePolicy, jobs: list[_Job]) -> None:
    seen = [job.request.observation for job in jobs]
    try:
        if len(jobs) > 1:
            chunks = policy.predict_many(seen)
        else:
            chunks = [policy.predict(observation) for observation in seen]
    except Exception as error:
        if len(jobs) == 1:
            jobs[0].future.set_exception(error)
            return
        for job in jobs:  # one of them is at fault
            _answer(policy, [job])
        return
    for job, chunk in zip(jobs, chunks, strict=True):
        job.future.set_result(answer_message(chunk, job.request, job.waited))


def served_by(policy: PipelinePolicy) -> Served:
    """Return what clients are told of a policy."""
    words = policy.pipeline.tokenizer.known_words
    return Served(
        policy.contract,
        policy.pipeline.config,
        (policy.chunk_size, policy.statistics.action.size),
        policy.statistics.proprio.size,
        policy.step_period,
        policy.provenance,
        words if len(' '.join(words)) < MOST_TEXT_BYTES // 4 else frozenset(),
    )
