# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The thread that owns the server's policy: it computes one answer after the other."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.errors import ServerError
from vla_adapter_ros.server.codec import MOST_TEXT_BYTES
from vla_adapter_ros.server.protocol import Request, Served, answer_message

if TYPE_CHECKING:
    from vla_adapter_ros.inference.chunk import PipelinePolicy


class PolicyThread:
    """Builds a policy and answers requests in the order of their arrival.

    The network computes one observation at a time; clients that ask together wait for each other.

    Args:
        make_policy: loads and warms up the policy; called in the thread, because a CUDA graph must
            be captured and replayed by one thread.
    """

    def __init__(self, make_policy: Callable[[], PipelinePolicy]) -> None:
        self._make_policy = make_policy
        self._jobs: queue.SimpleQueue[tuple[Request, float, Future[dict[str, Any]]]]
        self._jobs = queue.SimpleQueue()
        self.loaded: Future[Served] = Future()
        # A daemon: a model that hangs must not keep the process from exiting.
        self._thread = threading.Thread(target=self._run, name='policy', daemon=True)

    def start(self) -> None:
        """Begin to load; `loaded` has the result, or why it failed."""
        self._thread.start()

    def submit(self, request: Request) -> Future[dict[str, Any]]:
        """Return the future answer. It raises ServerError if the deadline passes in the queue."""
        future: Future[dict[str, Any]] = Future()
        self._jobs.put((request, time.monotonic(), future))
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
            request, arrived, future = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(_answer(policy, request, time.monotonic() - arrived))
            except Exception as error:
                future.set_exception(error)


def _answer(policy: PipelinePolicy, request: Request, waited: float) -> dict[str, Any]:
    if waited > request.deadline:
        raise ServerError(
            f'the request waited {waited:.2f} s, its deadline was {request.deadline:.2f} s: '
            'not computed'
        )
    return answer_message(policy.predict(request.observation), request, waited)


def served_by(policy: PipelinePolicy) -> Served:
    """Return what clients are told of a policy."""
    words = policy.pipeline.tokenizer.words
    return Served(
        policy.contract,
        policy.pipeline.config,
        (policy.chunk_size, policy.statistics.action.size),
        policy.statistics.proprio.size,
        policy.step_period,
        policy.provenance,
        words if len(' '.join(words)) < MOST_TEXT_BYTES // 4 else frozenset(),
    )
