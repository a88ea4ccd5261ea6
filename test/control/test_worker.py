# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The inference worker: single flight, errors as results, late results dropped, clean stop."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from vla_adapter_ros.control.worker import InferenceWorker
from vla_adapter_ros.errors import ObservationError, VLAAdapterError
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.processing.observation import Observation


class GatedPolicy:
    """Waits for a gate, then answers with a chunk filled with the observation's stamp."""

    def __init__(self):
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.thread = threading.current_thread()

    def predict(self, observation):
        self.entered.set()
        self.gate.wait(5.0)
        actions = np.full((8, 7), observation.stamp)
        return ActionChunk(actions, observation.stamp, 0.1, observation.instruction)


def snapshot(stamp=1.0, observe=None):
    """Inputs of a job, of which the worker needs only how to make an observation."""
    observation = Observation({}, np.zeros(7), 'reach', stamp)
    return SimpleNamespace(stamp=stamp, observe=observe or (lambda: observation))


def wait_for(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (value := condition()) is not None and value is not False:
            return value
        time.sleep(0.001)
    raise AssertionError('condition not met in time')


@pytest.fixture
def worker():
    woken = threading.Event()
    worker = InferenceWorker(GatedPolicy, woken.set)
    worker.woken = woken
    worker.start()
    yield worker
    worker.policy.gate.set()
    assert worker.stop(5.0)


def test_policy_is_built_in_the_thread_that_runs_it(worker):
    assert worker.policy.thread is not threading.current_thread()


def test_second_submit_is_refused_while_busy(worker):
    assert worker.submit(snapshot())
    assert worker.busy_since is not None
    assert not worker.submit(snapshot())
    worker.policy.gate.set()
    result = wait_for(worker.take_result)
    assert result.chunk.actions[0, 0] == 1.0
    assert worker.take_result() is None
    assert worker.busy_since is None


def test_caller_is_woken_when_the_result_is_there(worker):
    worker.submit(snapshot())
    assert not worker.woken.wait(0.02)
    worker.policy.gate.set()
    assert worker.woken.wait(5.0)


def test_discarded_job_leaves_no_result_but_frees_the_worker(worker):
    worker.submit(snapshot(1.0))
    worker.discard()
    worker.policy.gate.set()
    wait_for(lambda: worker.busy_since is None)
    assert worker.take_result() is None
    assert worker.submit(snapshot(2.0))
    assert wait_for(worker.take_result).chunk.observation_stamp == 2.0


def test_exception_becomes_a_result_and_the_thread_lives(worker):
    def broken():
        raise RuntimeError('image has zero size\nsecond line')

    worker.submit(snapshot(observe=broken))
    result = wait_for(worker.take_result)
    assert result.chunk is None
    assert result.error == 'RuntimeError: image has zero size'
    assert 'Traceback' in result.trace
    worker.policy.gate.set()
    assert worker.submit(snapshot())
    assert wait_for(worker.take_result).chunk is not None


def test_failure_to_build_the_policy_reaches_the_caller():
    def no_policy():
        raise ValueError('no such checkpoint')

    with pytest.raises(ValueError, match='no such checkpoint'):
        InferenceWorker(no_policy, lambda: None).start()


def test_stop_tells_when_the_model_hangs(worker):
    worker.submit(snapshot())
    assert worker.policy.entered.wait(5.0)
    assert not worker.stop(0.05)
    worker.policy.gate.set()
    assert worker.stop(5.0)


class QuickPolicy:
    """Answers at once with a chunk of the observation's stamp."""

    def predict(self, observation):
        return ActionChunk(np.zeros((8, 7)), observation.stamp, 0.1, observation.instruction)


def test_no_result_is_lost_or_paired_with_another_observation_however_the_threads_interleave():
    worker = InferenceWorker(QuickPolicy, lambda: None)
    worker.start()
    submitted, taken, random = [], [], np.random.default_rng(0)
    deadline = time.monotonic() + 20.0
    while len(taken) < 500 and time.monotonic() < deadline:
        if (result := worker.take_result()) is not None:
            taken.append(result)
        # Here the worker often finishes: between the look and the next job.
        time.sleep(random.uniform(0.0, 3e-4))
        if worker.submit(snapshot(float(len(submitted)))):
            submitted.append(float(len(submitted)))
    wait_for(lambda: worker.busy_since is None)
    taken.extend(result for result in [worker.take_result()] if result)
    assert worker.stop(5.0)
    assert [result.chunk.observation_stamp for result in taken] == submitted
    assert all(result.snapshot.stamp == result.chunk.observation_stamp for result in taken)


def test_a_result_of_a_discarded_job_is_never_taken_though_the_next_one_is_quick():
    worker = InferenceWorker(QuickPolicy, lambda: None)
    worker.start()
    for cycle in range(200):
        wait_for(lambda: worker.submit(snapshot(-1.0)) or None)
        worker.discard()
        wait_for(lambda cycle=cycle: worker.submit(snapshot(float(cycle))) or None)
        assert wait_for(worker.take_result).snapshot.stamp == cycle
    assert worker.stop(5.0)


def test_a_result_that_waits_is_not_overwritten(worker):
    worker.policy.gate.set()
    assert worker.submit(snapshot(1.0))
    wait_for(lambda: worker.busy_since is None)
    assert not worker.free and not worker.submit(snapshot(2.0))
    assert worker.take_result().snapshot.stamp == 1.0
    assert worker.free


def test_loading_a_policy_can_be_cancelled_and_its_thread_is_left_behind():
    loading, gate = threading.Event(), threading.Event()

    def load():
        loading.set()
        gate.wait(5.0)
        return GatedPolicy()

    worker = InferenceWorker(load, lambda: None)
    with pytest.raises(VLAAdapterError, match='interrupted while the policy was loaded'):
        worker.start(cancelled=loading.is_set)
    assert not worker.stop(0.01)
    gate.set()
    assert worker.stop(5.0)


@pytest.mark.parametrize(
    ('error', 'traced'), [(KeyError('joint'), True), (ObservationError('dark'), False)]
)
def test_a_fault_in_code_has_a_traceback_and_bad_input_has_none(worker, error, traced):
    def observe():
        raise error

    worker.submit(SimpleNamespace(observe=observe))
    result = wait_for(worker.take_result)
    assert result.error.startswith(type(error).__name__)
    assert ('in observe' in result.trace) == traced
