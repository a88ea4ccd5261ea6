# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The policy server: what it answers, whom it refuses, and that nothing a client sends ends it."""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import subprocess
import threading
import time
from dataclasses import replace

import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from support.policy_servers import FakePolicy, RunningServer
from vla_adapter_ros.errors import InstructionError, ServerError
from vla_adapter_ros.preflight.checks import FAIL, PASS
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.server import remote_policy
from vla_adapter_ros.server.access import Access
from vla_adapter_ros.server.codec import decode, encode
from vla_adapter_ros.server.policy_thread import PolicyThread
from vla_adapter_ros.server.protocol import MAX_REQUEST_BYTES, Request
from vla_adapter_ros.server.remote_policy import RemotePolicy
from vla_adapter_ros.server.server_checks import server_checks

TOKEN = 'a-secret-of-sixteen-or-more'


def observation(seed: int = 0) -> Observation:
    random = np.random.default_rng(seed)
    images = {
        name: random.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        for name in ('third_person', 'wrist')
    }
    return Observation(images, random.uniform(0.0, 1.0, 7), 'pick up the red block', 12.5)


@pytest.fixture(scope='module')
def policy():
    return FakePolicy()


@pytest.fixture(scope='module')
def server(policy):
    with RunningServer(lambda: policy) as server:
        yield server


def raw(**changes) -> dict:
    """A message as a client of our own kind that leaves the resizing to the server."""
    seen = observation()
    values = {'images': seen.images, 'state': seen.proprioception, 'prompt': seen.instruction}
    return {k: v for k, v in (values | changes).items() if v is not Ellipsis}


def ask(url: str, *messages, **options):
    """Answers to messages (maps, or bytes as they are), after what the server says first."""
    with connect(url, compression=None, **options) as client:
        first = decode(client.recv(timeout=10))
        answers = []
        for message in messages:
            client.send(message if isinstance(message, (bytes, str)) else encode(message))
            answer = client.recv(timeout=10)
            answers.append(answer if isinstance(answer, str) else decode(answer))
        return first, answers


def health(port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
    connection.request('GET', '/healthz')
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_remote_actions_are_the_local_ones_bit_for_bit(server, policy):
    remote = RemotePolicy(server.url, timeout=20.0)
    for seed in range(3):
        seen = observation(seed)
        here, there = policy.predict(seen), remote.predict(seen)
        assert here.actions.tobytes() == there.actions.tobytes()
    assert there.observation_stamp == 12.5 and there.instruction == seen.instruction
    assert there.step_period == here.step_period
    assert remote.contract.differences(policy.contract) == []
    assert there.provenance['policy_server'] == server.url
    stages = there.latencies
    assert stages['total'] > stages['model'] > 0 < stages['resize'] and stages['network'] >= 0
    remote.close()


def test_words_that_the_servers_policy_does_not_know_are_named(server):
    remote = RemotePolicy(server.url)
    text = 'pick up the Xylophone'
    assert remote.unknown_words(text) == ['xylophone']
    assert remote.unknown_words('pick up the block') == []
    assert remote.clean_instruction(' Pick up the block ') == 'pick up the block'
    with pytest.raises(InstructionError, match='é'):
        remote.clean_instruction('pick up the café')
    # A tokenizer that has every character.
    remote.served = replace(remote.served, words=frozenset())
    assert remote.clean_instruction('pick up the café') == 'pick up the café'
    remote.close()


def test_preflight_asks_the_server(server):
    checks = {check.name: check for check in server_checks(server.url, 'alicia_d', 2)}
    assert checks['policy server'].verdict == checks['contract match'].verdict == PASS
    assert 'made up' in checks['policy server'].detail
    assert 'of 2 runs' in checks['model latency'].detail
    other = {check.name: check for check in server_checks(server.url, 'ur5e_robotiq', 0)}
    assert other['contract match'].verdict == FAIL and 'there' in other['contract match'].detail
    (gone,) = server_checks('ws://127.0.0.1:9', 'alicia_d', 2)
    assert gone.verdict == FAIL and 'Connection refused' in gone.detail


def test_a_client_of_openpi_gets_actions_and_timing(server, policy):
    def packed(array):
        data, dtype = array.tobytes(), array.dtype.str
        return {b'__ndarray__': True, b'data': data, b'dtype': dtype, b'shape': array.shape}

    seen = observation()
    message = msgpack.packb({
        'observation/image': packed(seen.images['third_person']),
        'observation/wrist_image': packed(seen.images['wrist']),
        'observation/state': packed(seen.proprioception),
        'prompt': seen.instruction,
        'of another client': None,
    })  # fmt: skip
    first, (answer,) = ask(server.url, message, additional_headers={'Authorization': 'Api-Key x'})
    assert first['contract']['name'] == 'alicia_d'
    np.testing.assert_array_equal(answer['actions'], policy.predict(seen).actions)
    assert answer['server_timing']['infer_ms'] > 0 and answer['sequence'] is None


@pytest.mark.parametrize(
    ('changes', 'part'),
    [
        ({'images': ...}, 'images: expected a map of'),
        ({'images': {'wrist': np.zeros((9, 9, 3), np.uint8)}}, "no ['third_person']"),
        ({'images': {'wrist': [1], 'third_person': 2}}, 'wrist is not an array'),
        ({'images': {c: np.zeros((3, 9, 9), np.uint8) for c in ('wrist', 'third_person')}},
         'third_person image: got shape (3, 9, 9)'),
        ({'images': {c: np.zeros((9, 9, 3)) for c in ('wrist', 'third_person')}}, 'float64'),
        ({'resized': True}, 'already resized'),
        ({'resized': 1}, 'resized: expected true or false'),
        ({'state': ...}, 'state: expected an array'),
        ({'state': np.zeros(8)}, 'got shape (8,), expected (7,)'),
        ({'state': np.full(7, np.nan)}, 'must be finite'),
        ({'prompt': ...}, 'prompt: got NoneType'),
        ({'prompt': ''}, 'instruction: empty'),
        ({'prompt': 'naïve'}, 'only printable ASCII'),
        ({'deadline': -1}, 'deadline'),
        ({'deadline': float('nan')}, 'deadline'),
        ({'sequence': 'x'}, 'sequence'),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_answered_gets_a_sentence_and_the_next_one_actions(
    server, changes, part
):
    _, (refusal, answer) = ask(server.url, raw(**changes), raw(sequence=7))
    assert part in refusal and '\n' not in refusal and 'Traceback' not in refusal
    assert answer['actions'].shape == (8, 7) and answer['sequence'] == 7


def test_a_refusal_of_a_numbered_request_carries_its_number(server):
    _, (refusal,) = ask(server.url, raw(sequence=3, prompt=''))
    assert refusal['sequence'] == 3 and refusal['error'].startswith('instruction: empty')


@pytest.mark.parametrize('data', [b'\x93\x01', 'text', b'', b'\xc1' * 100])
def test_nonsense_is_refused_in_a_sentence_and_ends_that_conversation_only(server, data):
    with connect(server.url) as client, connect(server.url) as other:
        client.recv(timeout=10), other.recv(timeout=10)
        client.send(data)
        assert 'message' in client.recv(timeout=10)
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=10)
        other.send(encode(raw()))
        assert 'actions' in decode(other.recv(timeout=10))


def test_a_message_of_gigabytes_is_cut_off_at_its_announcement(server):
    with connect(server.url, compression=None) as client:
        client.recv(timeout=10)
        header = b'\x82\xff' + (2 * 2**30).to_bytes(8, 'big') + b'mask'
        client.socket.sendall(header)
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(timeout=10)
    assert caught.value.rcvd.code == 1009 and MAX_REQUEST_BYTES < 2**25
    assert health(server.port) == (200, 'OK\n')


def test_strangers_on_the_port_do_not_disturb(server, caplog):
    for data in (b'GET / HTTP/1.1\r\n\r\n', b'\x16\x03\x01' * 50, b''):
        with socket.create_connection(('127.0.0.1', server.port)) as stranger:
            stranger.sendall(data)
    assert health(server.port) == (200, 'OK\n')
    assert 'Traceback' not in caplog.text


def test_a_web_page_cannot_ask_it(server):
    with pytest.raises(InvalidStatus, match='403'):
        connect(server.url, additional_headers={'Origin': 'https://example.com'})


def test_a_fault_in_code_is_a_sentence_to_the_client_and_a_trace_in_the_log(caplog):
    def fail(observation):
        if observation.instruction == 'fail':
            raise RuntimeError('CUDA error: an illegal memory access\n in kernel')

    with caplog.at_level(logging.ERROR), RunningServer(lambda: FakePolicy(fail)) as server:
        _, (refusal,) = ask(server.url, raw(prompt='fail'))
        assert health(server.port) == (500, 'the last inference failed: RuntimeError\n')
        ask(server.url, raw())
        assert health(server.port) == (200, 'OK\n')
    assert refusal == 'inference failed on the server (RuntimeError); its log says more'
    assert 'illegal memory access' in caplog.text and 'Traceback' in caplog.text


def test_clients_wait_for_each_other_and_what_is_past_its_deadline_is_not_computed():
    entered, gate, computed = threading.Event(), threading.Event(), []

    def wait(observation):
        computed.append(observation.instruction)
        entered.set()
        assert gate.wait(10)

    with RunningServer(lambda: FakePolicy(wait)) as server, connect(server.url) as late:
        late.recv(timeout=10)
        with connect(server.url) as first, connect(server.url) as patient:
            first.recv(timeout=10), patient.recv(timeout=10)
            first.send(encode(raw(prompt='first')))
            assert entered.wait(10)
            late.send(encode(raw(prompt='late', sequence=1, deadline=0.02)))
            patient.send(encode(raw(prompt='patient', deadline=20)))
            jobs = server.server._thread._jobs
            while jobs.qsize() < 2:
                time.sleep(0.002)
            time.sleep(0.03)
            gate.set()
            assert 'actions' in decode(first.recv(timeout=10))
            assert 'not computed' in decode(late.recv(timeout=10))['error']
            answer = decode(patient.recv(timeout=10))
    assert answer['server_timing']['wait_ms'] > 20
    assert computed == ['first', 'patient']


def test_clients_that_wait_are_computed_together_and_a_bad_one_costs_only_itself(policy):
    entered, gate = threading.Event(), threading.Event()

    def wait(observation):
        entered.set()
        assert gate.wait(10)
        if observation.instruction == 'bad':
            raise InstructionError('bad')

    batching = FakePolicy(wait)
    texts = ('one', 'two', 'three', 'bad')
    with (
        RunningServer(lambda: batching, batch=3) as server,
        contextlib.ExitStack() as stack,
    ):
        first, *others = (stack.enter_context(connect(server.url)) for _ in range(5))
        for client in (first, *others):
            client.recv(timeout=10)
        first.send(encode(raw(prompt='first')))
        assert entered.wait(10)
        assert batching.batches == []  # alone it is asked as ever
        jobs = server.server._thread._jobs
        for number, (client, text) in enumerate(zip(others, texts)):
            client.send(encode(raw(prompt=text, deadline=0.01 if text == 'two' else 20)))
            while jobs.qsize() <= number:
                time.sleep(0.002)
        time.sleep(0.02)
        gate.set()
        answers = [client.recv(timeout=10) for client in (first, *others)]
    # The late one of the first three waiting is not computed, and the fourth comes after them.
    assert batching.batches == [['one', 'three']]
    assert 'not computed' in answers[2] and answers[4] == 'bad'
    for text, answer in zip(('first', *texts), answers):
        if text in ('first', 'one', 'three'):
            alone = policy.predict(replace(observation(), instruction=text))
            np.testing.assert_array_equal(decode(answer)['actions'], alone.actions)


def test_of_a_batch_that_fails_each_is_computed_alone(policy):
    def fail(observation):
        if observation.instruction == 'bad':
            raise InstructionError('bad')

    requests = [Request(replace(observation(), instruction=t)) for t in ('one', 'bad', 'two')]
    thread = PolicyThread(lambda: FakePolicy(fail), batch=8)
    answers = [thread.submit(request) for request in requests]
    thread.start()
    assert str(answers[1].exception(10)) == 'bad'
    for request, answer in zip(requests[::2], answers[::2]):
        alone = policy.predict(request.observation).actions
        np.testing.assert_array_equal(answer.result(10)['actions'], alone)


def test_a_server_that_loads_says_so_and_the_client_waits_for_it(policy):
    gate = threading.Event()

    def load():
        gate.wait(10)
        return policy

    with RunningServer(load, wait=False) as server:
        assert health(server.port) == (503, 'loading\n')
        with pytest.raises(ServerError, match='the policy is being loaded'):
            RemotePolicy(server.url, cancelled=lambda: True)
        threading.Timer(0.1, gate.set).start()
        assert RemotePolicy(server.url).served.action_shape == (8, 7)
        assert health(server.port) == (200, 'OK\n')


def test_it_ends_while_a_model_hangs():
    entered, gate = threading.Event(), threading.Event()

    def hang(observation):
        entered.set()
        gate.wait(20)

    with RunningServer(lambda: FakePolicy(hang)) as server:
        client = RemotePolicy(server.url, timeout=0.2)
        with pytest.raises(ServerError, match='no answer in time'):
            client.predict(observation())
        assert entered.is_set()
    gate.set()


def test_a_policy_that_cannot_be_loaded_ends_it_with_the_reason():
    def load():
        raise ServerError('no such checkpoint')

    with RunningServer(load) as server:
        pass
    assert str(server.error) == 'no such checkpoint'


def test_a_port_that_is_taken_is_one_sentence(server, policy):
    with RunningServer(lambda: policy, port=server.port) as second:
        assert isinstance(second.error, ServerError)
    sentence = f'cannot listen on 127.0.0.1:{server.port}: address already in use'
    assert str(second.error).lower() == sentence


def test_only_who_knows_the_token_is_answered(policy):
    with RunningServer(lambda: policy, token=TOKEN) as server:
        for wrong in ('', f'Bearer {TOKEN}x', f'Basic {TOKEN}', TOKEN):
            with pytest.raises(InvalidStatus, match='401'):
                connect(server.url, additional_headers={'Authorization': wrong})
        with pytest.raises(ServerError, match='wrong or no token: VLA_POLICY_TOKEN'):
            RemotePolicy(server.url, 'wrong')
        RemotePolicy(server.url, TOKEN).close()
        headers = {'Authorization': f'Api-Key {TOKEN}'}
        assert ask(server.url, additional_headers=headers)[0]['protocol'] == 1
        assert health(server.port) == (200, 'OK\n')


@pytest.mark.parametrize('host', ['127.0.0.1', '127.3.2.1', '::1', 'localhost'])
def test_this_machine_alone_needs_no_token(host):
    assert Access(host).warning == ''


@pytest.mark.parametrize('host', ['0.0.0.0', '192.168.1.5', '::', 'gpu', ''])
def test_other_machines_need_a_token_and_are_warned_of_without_encryption(host):
    with pytest.raises(ServerError, match='set the environment variable VLA_POLICY_TOKEN'):
        Access(host)
    assert 'unencrypted' in Access(host, token=TOKEN).warning
    assert Access(host, token=TOKEN, certificate='a', key='b').warning == ''


@pytest.mark.parametrize(
    ('settings', 'part'),
    [
        ({'token': 'short'}, 'at least 16 ASCII characters'),
        ({'token': 'ä' * 20}, 'at least 16 ASCII characters'),
        ({'certificate': 'a.pem'}, 'expected both files or none'),
    ],
)
def test_settings_that_protect_nothing_are_refused(settings, part):
    with pytest.raises(ServerError, match=part):
        Access(**settings)
    with pytest.raises(ServerError, match='cannot be used'):
        Access(certificate='/nowhere/a', key='/nowhere/b').tls()


def test_wss_is_spoken_with_who_trusts_the_certificate(policy, tmp_path, monkeypatch):
    certificate, key = str(tmp_path / 'server.pem'), str(tmp_path / 'server.key')
    command = [
        'openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1',
        '-nodes', '-keyout', key, '-out', certificate, '-days', '2', '-subj', '/CN=localhost',
        '-addext', 'subjectAltName=IP:127.0.0.1',
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip('openssl is not installed')
    with RunningServer(lambda: policy, token=TOKEN, certificate=certificate, key=key) as server:
        assert server.url.startswith('wss://')
        with pytest.raises(ServerError, match='certificate: self'):
            RemotePolicy(server.url, TOKEN)
        monkeypatch.setenv('SSL_CERT_FILE', certificate)
        # The machine may pause while the two agree.
        monkeypatch.setattr(remote_policy, '_OPEN_TIMEOUT_S', 20.0)
        remote = RemotePolicy(server.url, TOKEN, timeout=20.0)
        seen = observation()
        there = remote.predict(seen).actions
        remote.close()
    np.testing.assert_array_equal(there, policy.predict(seen).actions)
