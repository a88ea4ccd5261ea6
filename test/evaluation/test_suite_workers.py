# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Messages to a benchmark's worker, and workers that die, hang or are not there."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading

import numpy as np
import pytest
import torch

from support.stand_in import interpreter
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.evaluation.libero.initial_states import read_states
from vla_adapter_ros.evaluation.suites import wire
from vla_adapter_ros.evaluation.suites.pool import run_episodes
from vla_adapter_ros.evaluation.suites.worker_process import WorkerLost, WorkerProcess

LIBERO_WORKER = 'vla_adapter_ros.evaluation.libero.worker'


@pytest.fixture
def ends():
    pair = socket.socketpair()
    yield pair
    for end in pair:
        end.close()


def test_arrays_and_header_arrive_as_they_were_sent(ends):
    arrays = {
        'image': np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[::-1],
        'state': np.array([0.1, -0.0, np.inf]),
        'empty': np.zeros((0, 7)),
    }
    sender = threading.Thread(target=wire.send, args=(ends[0], {'observe': True}, arrays))
    sender.start()
    header, received = wire.receive(ends[1])
    sender.join()
    assert header == {'observe': True}
    assert {name: array.dtype for name, array in received.items()} == {
        'image': np.uint8, 'state': np.float64, 'empty': np.float64
    }  # fmt: skip
    for name, array in arrays.items():
        np.testing.assert_array_equal(received[name], array)
    assert np.signbit(received['state'][1])


@pytest.mark.parametrize(
    ('header', 'reason'),
    [
        ({'arrays': [['x', '|O', [1]]]}, 'malformed'),
        ({'arrays': [['x', '<f8', [-1]]]}, 'malformed'),
        ({'arrays': [['x', '<f8', [True]]]}, 'malformed'),
        ({'arrays': [['x', '|u1', [1 << 40]]]}, 'at most'),
        ({}, 'malformed'),
        ([], 'malformed'),
    ],
)
def test_what_is_no_message_is_refused_before_memory_is_taken(ends, header, reason):
    text = json.dumps(header).encode()
    ends[0].sendall(wire.LENGTH.pack(len(text)) + text)
    with pytest.raises(wire.WireError, match=reason):
        wire.receive(ends[1])


def test_a_header_of_gigabytes_is_refused_and_a_cut_message_noticed(ends):
    ends[0].sendall(wire.LENGTH.pack(0xFFFFFFFF))
    with pytest.raises(wire.WireError, match='at most'):
        wire.receive(ends[1])
    ends[0].sendall(wire.LENGTH.pack(10) + b'{"a"')
    ends[0].close()
    with pytest.raises(wire.WireError, match='ended'):
        wire.receive(ends[1])


def test_an_interpreter_without_libero_says_so():
    worker = WorkerProcess(sys.executable, LIBERO_WORKER, None)
    try:
        with pytest.raises(WorkerLost, match='LIBERO is not installed here'):
            worker.ask({'do': 'hello'})
    finally:
        worker.close()


def test_an_interpreter_without_numpy_is_named_with_what_it_lacks(tmp_path):
    bare = tmp_path / 'python'
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    worker = WorkerProcess(str(bare), LIBERO_WORKER, None)
    try:
        with pytest.raises(WorkerLost, match='ended with status 1: .* has no module numpy$'):
            worker.ask({'do': 'hello'})
    finally:
        worker.close()


def test_an_interpreter_that_does_not_exist_is_named():
    with pytest.raises(WorkerLost, match='cannot run /nowhere/python'):
        WorkerProcess('/nowhere/python', LIBERO_WORKER, None)


def test_a_worker_that_dies_is_reported_with_its_last_words(tmp_path):
    python = interpreter(tmp_path, 'import sys; sys.exit("no GPU for EGL")')
    worker = WorkerProcess(python, LIBERO_WORKER, tmp_path / 'worker.log')
    with pytest.raises(WorkerLost, match='status 1: no GPU for EGL'):
        worker.ask({'do': 'hello'})
    worker.close()


def test_a_worker_that_hangs_is_given_up(tmp_path):
    python = interpreter(tmp_path, 'import time; time.sleep(600)')
    worker = WorkerProcess(python, LIBERO_WORKER, None, timeout=0.05)
    with pytest.raises(WorkerLost, match='no answer within'):
        worker.ask({'do': 'hello'})
    worker.close()
    assert worker._process.returncode is not None


class Command:
    def __init__(self, text):
        self.text = text

    def __reduce__(self):
        return os.system, (self.text,)


@pytest.mark.parametrize('core', (b'numpy._core', b'numpy.core'))
def test_initial_states_of_an_older_libero_are_read(tmp_path, core):
    states = np.random.default_rng(0).normal(size=(3, 5))
    file = tmp_path / 'states'
    torch.save(states, file, _use_new_zipfile_serialization=False)
    for written in (b'numpy._core', b'numpy.core'):
        file.write_bytes(file.read_bytes().replace(written + b'.multi', core + b'.multi'))
    np.testing.assert_array_equal(read_states(file), states)


def test_initial_states_that_todays_torch_wrote_are_read(tmp_path):
    states = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    torch.save(states, tmp_path / 'states')
    np.testing.assert_array_equal(read_states(tmp_path / 'states'), states)


def test_code_in_a_file_of_initial_states_is_not_run(tmp_path):
    torch.save(Command(f'touch {tmp_path}/ran'), tmp_path / 'states')
    with pytest.raises(DatasetError, match='states: cannot be read: .*it asks for posix.system'):
        read_states(tmp_path / 'states')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ({'a': torch.zeros(2)}, 'it asks for'),
        ([1.0, 2.0], 'expected an array'),
        (np.zeros(4), 'expected an array'),
        (np.full((2, 3), np.nan), 'finite'),
        (np.zeros((2, 3), int), 'expected an array'),
    ],
)
def test_files_of_other_things_are_not_taken_for_initial_states(tmp_path, content, reason):
    torch.save(content, tmp_path / 'states')
    with pytest.raises(DatasetError, match=reason):
        read_states(tmp_path / 'states')


class Counter:
    """A worker without a process; its episodes ask as often as the request says."""

    def ask(self, header, arrays=None):
        if header['do'] == 'episode':
            self.left, self.number = header['queries'], header['episode']
        else:
            assert arrays['actions'] == self.number
            self.left -= 1
        if not self.left:
            return {'over': {'success': True}}, {}
        return {'observe': True}, {'left': np.array(self.left)}

    def close(self):
        pass


@pytest.mark.parametrize('batch', (1, 2, 8))
def test_workers_that_wait_are_answered_together(batch):
    asked, never = [], threading.Event()

    def ask(questions):
        # The first answer comes late: meanwhile all others ask.
        never.wait(0.0 if asked else 0.1)
        asked.append(len(questions))
        return [np.array(header['episode']) for header, _ in questions]

    requests = [{'do': 'episode', 'episode': i, 'queries': 1 + i % 3} for i in range(12)]
    ended = list(run_episodes(requests, lambda number: Counter(), ask, 6, batch))
    assert sorted(each.request['episode'] for each in ended) == list(range(12))
    assert sum(asked) == sum(request['queries'] for request in requests)
    assert max(asked) <= batch
    assert batch == 1 or max(asked) > 1


def test_one_worker_waits_for_nobody():
    asked = []

    def ask(questions):
        asked.append(len(questions))
        return [np.array(header['episode']) for header, _ in questions]

    requests = [{'do': 'episode', 'episode': i, 'queries': 2} for i in range(3)]
    assert len(list(run_episodes(requests, lambda number: Counter(), ask, 1, 8))) == 3
    assert asked == [1] * 6
