# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The client in the robot: whatever comes over the wire, good actions or an error soon."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from support.policy_servers import ACTIONS, SERVED, Cable, FakeServer, good
from vla_adapter_ros.errors import MessageError, ObservationError, ServerError
from vla_adapter_ros.processing.images import ImageConfig
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.server import remote_policy
from vla_adapter_ros.server.codec import decode, encode
from vla_adapter_ros.server.remote_policy import RemotePolicy

TIMEOUT = 0.15  # where an answer is waited for in vain
PATIENCE = 10.0  # on a busy machine
BACK_OFF = 0.02


def seen(**changes):
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    images = {'third_person': image, 'wrist': image[::-1].copy()}
    return Observation(**({
        'images': images, 'proprioception': np.zeros(7), 'instruction': 'reach', 'stamp': 3.0
    } | changes))  # fmt: skip


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(remote_policy, '_FIRST_BACK_OFF_S', BACK_OFF)


@pytest.fixture
def server():
    with FakeServer() as server:
        yield server


@pytest.fixture
def remote(server):
    remote = RemotePolicy(server.url, timeout=PATIENCE)
    yield remote
    remote.close()


def recovers(remote, seconds=20.0):
    """The next good chunk; the client may have to wait before it connects again."""
    end = time.monotonic() + seconds
    while True:
        try:
            return remote.predict(seen())
        except ServerError:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_query_has_the_networks_views_and_numbers_that_only_grow(server, remote):
    for _ in range(2):
        np.testing.assert_array_equal(remote.predict(seen()).actions, ACTIONS)
    first, second = server.requests
    views = SERVED.processing.resized_views(seen().images)
    np.testing.assert_array_equal(first['images']['wrist'], views[1])
    assert first['resized'] is True and first['prompt'] == 'reach'
    assert first['sequence'] < second['sequence']
    assert 0 < first['deadline'] <= PATIENCE
    assert server.connections == 1


def spoilt(**changes):
    def answer(request):
        message = decode(good(request)[0]) | changes
        return [encode({k: v for k, v in message.items() if v is not Ellipsis})]

    return answer


@pytest.mark.parametrize(
    ('answer', 'kind', 'part'),
    [
        (spoilt(actions=np.full((8, 7), np.nan)), MessageError, 'not all are finite'),
        (spoilt(actions=np.full((8, 7), -np.inf)), MessageError, 'not all are finite'),
        (spoilt(actions=ACTIONS[:4]), MessageError, r'got shape \(4, 7\)'),
        (spoilt(actions=ACTIONS.astype(np.int64)), MessageError, 'expected an array of numbers'),
        (spoilt(actions=...), MessageError, 'expected an array of numbers'),
        (spoilt(actions='soon'), MessageError, 'expected an array of numbers'),
        (spoilt(sequence=...), MessageError, 'got answer None to request 1'),
        (spoilt(sequence=99), MessageError, 'got answer 99 to request 1'),
        (spoilt(sequence='1'), MessageError, 'sequence'),
        (lambda _: [b'\x81' * 90], MessageError, 'not msgpack'),
        (lambda _: ['Traceback\n  of another server'], ServerError, 'refused: Traceback of'),
        (lambda _: [bytes(2**21)], ServerError, 'connection lost'),
        (lambda _: [], ServerError, 'no answer in time'),
        (lambda _: 1 / 0, ServerError, 'connection lost'),
    ],
)
def test_an_answer_that_cannot_be_trusted_is_an_error_and_the_next_good_one_is_used(
    server, remote, answer, kind, part
):
    server.answer = answer
    if part == 'no answer in time':
        remote._timeout = TIMEOUT
    start = time.monotonic()
    with pytest.raises(kind, match=part) as caught:
        remote.predict(seen())
    remote._timeout = PATIENCE
    assert str(caught.value).startswith(f'policy server {server.url}: ')
    assert '\n' not in str(caught.value) and time.monotonic() - start < PATIENCE / 2
    server.answer = good
    np.testing.assert_array_equal(recovers(remote).actions, ACTIONS)
    assert server.connections == 2


def test_a_refusal_keeps_the_connection(server, remote):
    server.answer = lambda r: [encode({'error': 'too dark', 'sequence': r['sequence']})]
    with pytest.raises(ServerError, match='refused: too dark'):
        remote.predict(seen())
    server.answer = good
    remote.predict(seen())
    assert server.connections == 1


def test_old_answers_that_are_played_back_are_dropped(server, remote):
    kept = []

    def replay(request):
        kept.append(spoilt(actions=ACTIONS + len(kept))(request)[0])
        return kept

    server.answer = replay
    for number in range(4):
        np.testing.assert_array_equal(remote.predict(seen()).actions, ACTIONS + number)


def test_an_answer_from_before_the_connection_was_lost_is_dropped(server, remote):
    old = []
    server.answer = lambda request: old.extend(good(request)) or []
    remote._timeout = TIMEOUT
    with pytest.raises(ServerError, match='no answer in time'):
        remote.predict(seen())
    remote._timeout = PATIENCE
    server.answer = lambda request: [*old, *spoilt(actions=ACTIONS + 1)(request)]
    np.testing.assert_array_equal(recovers(remote).actions, ACTIONS + 1)


def test_a_flood_of_old_answers_does_not_outlast_the_time_limit(server, remote):
    remote.predict(seen())
    old = good({'sequence': 1})[0]

    def flood(request):
        while True:
            yield old

    server.answer = flood
    remote._timeout = TIMEOUT
    start = time.monotonic()
    with pytest.raises(ServerError):
        remote.predict(seen())
    assert time.monotonic() - start < PATIENCE / 2


@pytest.mark.parametrize(
    ('first', 'part'),
    [
        ({'policy': 'pi0'}, 'it is not a policy server of vla_adapter_ros'),
        (SERVED.to_message() | {'protocol': 9}, 'install the same release on both'),
        (SERVED.to_message() | {'action_shape': [8]}, 'first message is malformed'),
        (SERVED.to_message() | {'action_shape': [0, 7]}, 'not possible'),
        (SERVED.to_message() | {'words': None}, 'first message is malformed'),
        (SERVED.to_message() | {'preprocessing': {'x': 1}}, "unknown key 'x'"),
        (SERVED.to_message() | {'contract': {'name': 'x'}}, 'its contract'),
        (b'\x00', 'got int, expected a map'),
        ('hello', 'refused: hello'),
    ],
)
def test_a_server_of_another_kind_or_release_is_refused_at_once(server, first, part):
    server.first = first
    start = time.monotonic()
    with pytest.raises(ServerError, match=part):
        RemotePolicy(server.url)
    assert time.monotonic() - start < 5.0  # not tried again for ten


@pytest.mark.parametrize(
    ('url', 'part'),
    [
        ('gpu:8000', 'expected ws://HOST:PORT'),
        ('http://gpu:8000', 'expected ws://HOST:PORT'),
        ('ws://gpu:port', 'expected ws://HOST:PORT'),
        ('ws://127.0.0.1:9', 'refused'),
    ],
)
def test_an_address_where_no_server_is_is_one_sentence(url, part):
    with pytest.raises(ServerError, match=part) as caught:
        RemotePolicy(url, cancelled=lambda: True)
    assert str(caught.value).startswith(f'policy server {url}: ')


def test_a_server_that_comes_back_with_another_policy_is_refused(server, remote):
    other = replace(SERVED, provenance={'fingerprint': 'other', 'statistics': 'own'})
    server.first, server.answer = other.to_message(), lambda request: []
    remote._timeout = TIMEOUT
    with pytest.raises(ServerError, match='no answer in time'):
        remote.predict(seen())
    remote._timeout = PATIENCE
    time.sleep(1.5 * BACK_OFF)
    with pytest.raises(ServerError, match='another policy than before: configure the node again'):
        remote.predict(seen())
    # The same on another device is the same policy.
    again = replace(SERVED, provenance=dict(SERVED.provenance) | {'device': 'cpu'})
    server.first, server.answer = again.to_message(), good
    assert recovers(remote).provenance['fingerprint'] == 'abc'


def test_bad_images_are_named_without_a_query(server, remote):
    with pytest.raises(ObservationError, match=r"no \['wrist'\]"):
        remote.predict(seen(images={'third_person': np.zeros((9, 9, 3), np.uint8)}))
    assert server.requests == []


def test_a_contract_of_another_robot_is_seen_with_the_usual_words(server):
    server.first = replace(SERVED, contract=replace(SERVED.contract, step_period=0.2)).to_message()
    remote = RemotePolicy(server.url)
    assert SERVED.contract.differences(remote.contract) == ['step_period: 0.1 here, 0.2 there']
    remote.close()


def test_a_cable_that_is_pulled_costs_the_time_limit_once_and_then_nothing(server):
    with Cable(server.port) as cable:
        remote = RemotePolicy(cable.url, timeout=PATIENCE)
        # Enough to fill what the system buffers, so that writing itself must give up.
        big = replace(SERVED.processing, images=ImageConfig(size=1600, jpeg_round_trip=False))
        remote.predict(seen())
        remote.served = replace(remote.served, processing=big)
        cable.cut()
        remote._timeout = TIMEOUT
        large = np.zeros((1600, 1600, 3), np.uint8)
        views = {'third_person': large, 'wrist': large}
        spent = []
        for _ in range(8):
            start = time.monotonic()
            with pytest.raises(ServerError, match='no answer in time|not reachable|lost'):
                remote.predict(seen(images=views, resized=True))
            spent.append(time.monotonic() - start)
        assert max(spent) < PATIENCE / 2
        assert sorted(spent)[3] < 0.05, 'attempts to connect are spread'
        remote.served = replace(remote.served, processing=SERVED.processing)
        remote._timeout = PATIENCE
        cable.mend()
        assert recovers(remote).provenance['fingerprint'] == 'abc'
        remote.close()


def test_closing_ends_a_query_that_waits(server):
    remote = RemotePolicy(server.url, timeout=20.0)
    server.answer = lambda request: []
    threading.Timer(0.05, remote.close).start()
    start = time.monotonic()
    with pytest.raises(ServerError, match='connection lost'):
        remote.predict(seen())
    assert time.monotonic() - start < 5.0
    with pytest.raises(ServerError, match='closed'):
        remote.predict(seen())


def test_a_certificate_is_not_waived(server):
    with pytest.raises(ServerError):
        RemotePolicy(server.url.replace('ws:', 'wss:'), cancelled=lambda: True)


def test_no_contract_is_passed_on_as_none(server):
    server.first = replace(SERVED, contract=None).to_message()
    remote = RemotePolicy(server.url)
    assert remote.contract is None
    remote.close()
