# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The inference worker: single flight, errors as results, late results dropped, clean stop."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from vla_adapter_ros.control.worker import InferenceWorker
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


def observation(stamp=1.0):
    return Observation({}, np.zeros(7), 'reach', stamp)


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
    assert worker.submit(observation)
    assert worker.busy_since is not None
    assert not worker.submit(observation)
    worker.policy.gate.set()
    result = wait_for(worker.take_result)
    assert result.chunk.actions[0, 0] == 1.0
    assert worker.take_result() is None
    assert worker.busy_since is None


def test_caller_is_woken_when_the_result_is_there(worker):
    worker.submit(observation)
    assert not worker.woken.wait(0.02)
    worker.policy.gate.set()
    assert worker.woken.wait(5.0)


def test_discarded_job_leaves_no_result_but_frees_the_worker(worker):
    worker.submit(lambda: observation(1.0))
    worker.discard()
    worker.policy.gate.set()
    wait_for(lambda: worker.busy_since is None)
    assert worker.take_result() is None
    assert worker.submit(lambda: observation(2.0))
    assert wait_for(worker.take_result).chunk.observation_stamp == 2.0


def test_exception_becomes_a_result_and_the_thread_lives(worker):
    def broken():
        raise RuntimeError('image has zero size\nsecond line')

    worker.submit(broken)
    result = wait_for(worker.take_result)
    assert result.chunk is None
    assert result.error == 'RuntimeError: image has zero size'
    assert 'Traceback' in result.trace
    worker.policy.gate.set()
    assert worker.submit(observation)
    assert wait_for(worker.take_result).chunk is not None


def test_failure_to_build_the_policy_reaches_the_caller():
    def no_policy():
        raise ValueError('no such checkpoint')

    with pytest.raises(ValueError, match='no such checkpoint'):
        InferenceWorker(no_policy, lambda: None).start()


def test_stop_tells_when_the_model_hangs(worker):
    worker.submit(observation)
    assert worker.policy.entered.wait(5.0)
    assert not worker.stop(0.05)
    worker.policy.gate.set()
    assert worker.stop(5.0)
