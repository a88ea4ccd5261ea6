# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One thread that owns the policy and its device; callers submit one job at a time.

The control loop never waits for the model: it submits a job and takes the result in a later tick.
A job that hangs cannot be interrupted (a CUDA call cannot), so the caller watches `busy_since` and
holds the arm; `discard` drops the late result.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from vla_adapter_ros.control.observation_inputs import Snapshot
from vla_adapter_ros.errors import DamagedImageError, VLAAdapterError
from vla_adapter_ros.inference.chunk import ActionChunk, ChunkPolicy

_CANCEL_PERIOD_S = 0.1


@dataclass(frozen=True)
class WorkerResult:
    """The result of one job, with the observation that it belongs to.

    Attributes:
        snapshot: the inputs of the job.
        chunk: None if the job failed.
        error: why it failed, in one line.
        trace: traceback of a fault in code; '' for bad input.
        submitted: `time.monotonic()` at submission.
        damaged: it failed for an image that was damaged in transit.
    """

    snapshot: Snapshot
    chunk: ActionChunk | None
    error: str = ''
    trace: str = ''
    submitted: float = 0.0
    damaged: bool = False


@dataclass(frozen=True)
class _Job:
    snapshot: Snapshot
    generation: int
    submitted: float


class InferenceWorker:
    """Runs a policy in its own thread, single flight.

    Args:
        make_policy: builds and warms up the policy; called in the thread, because a CUDA graph
            must be captured and replayed by one thread.
        on_result: called in the thread after each job; it must only wake the caller's loop.
    """

    def __init__(
        self, make_policy: Callable[[], ChunkPolicy], on_result: Callable[[], None]
    ) -> None:
        self._make_policy = make_policy
        self._on_result = on_result
        self._wake = threading.Condition()
        self._job: _Job | None = None
        self._result: WorkerResult | None = None
        self._generation = 0
        self._busy_since: float | None = None
        self._stopping = False
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self.policy: ChunkPolicy | None = None
        # A daemon: a model that hangs forever must not keep the process from exiting.
        self._thread = threading.Thread(target=self._run, name='inference', daemon=True)

    def start(self, cancelled: Callable[[], bool] = lambda: False) -> ChunkPolicy:
        """Build the policy and return it.

        Args:
            cancelled: asked while the policy is built, which may take minutes.

        Raises:
            VLAAdapterError: cancelled; a policy that is still being built is left behind.
            Exception: whatever building raised.
        """
        self._thread.start()
        while not self._ready.wait(_CANCEL_PERIOD_S):
            if cancelled():
                raise VLAAdapterError('interrupted while the policy was loaded')
        if self._failure is not None:
            raise self._failure
        assert self.policy is not None
        return self.policy

    @property
    def busy_since(self) -> float | None:
        """`time.monotonic()` at which the running job was submitted, or None if idle."""
        return self._busy_since

    @property
    def free(self) -> bool:
        """Whether a job can be submitted: none is running, and no result waits to be taken."""
        with self._wake:
            return self._busy_since is None and self._result is None

    def submit(self, snapshot: Snapshot) -> bool:
        """Start a job that decodes the inputs and infers; False if one runs or its result waits.

        A result that was not taken is never overwritten.
        """
        with self._wake:
            if self._busy_since is not None or self._result is not None or self._stopping:
                return False
            self._busy_since = time.monotonic()
            self._job = _Job(snapshot, self._generation, self._busy_since)
            self._wake.notify()
        return True

    def take_result(self) -> WorkerResult | None:
        """Return the result of the finished job once, or None."""
        with self._wake:
            result, self._result = self._result, None
        return result

    def discard(self) -> None:
        """Drop a waiting result and that of the running job: they are out of date."""
        with self._wake:
            self._generation += 1
            self._result = None

    def stop(self, timeout: float) -> bool:
        """Ask the thread to end; False if it is still inside the model after `timeout` [s]."""
        with self._wake:
            self._stopping = True
            self._generation += 1
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.policy = self._make_policy()
        except BaseException as error:  # raised by start()
            self._failure = error
            return
        finally:
            self._ready.set()
        while (job := self._next_job()) is not None:
            self._finish(job, self._infer(job))

    def _next_job(self) -> _Job | None:
        with self._wake:
            self._wake.wait_for(lambda: self._job is not None or self._stopping)
            job, self._job = self._job, None
        return None if self._stopping else job

    def _infer(self, job: _Job) -> WorkerResult:
        assert self.policy is not None
        try:
            chunk = self.policy.predict(job.snapshot.observe())
            return WorkerResult(job.snapshot, chunk, submitted=job.submitted)
        except Exception as error:
            # Everything: a CUDA error or a bug in a policy must end in hold, not in a dead
            # thread.
            first_line = (str(error) or repr(error)).splitlines()[0]
            summary = f'{type(error).__name__}: {first_line}'
            # Bad input is said in one sentence; a fault in code needs the place.
            trace = '' if isinstance(error, VLAAdapterError) else traceback.format_exc()
            damaged = isinstance(error, DamagedImageError)
            return WorkerResult(job.snapshot, None, summary, trace, job.submitted, damaged)

    def _finish(self, job: _Job, result: WorkerResult) -> None:
        with self._wake:
            self._busy_since = None
            if job.generation == self._generation:
                self._result = result
        self._on_result()
