# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Messages whose bytes are good and whose content is not: refused in a sentence, or harmless."""

from __future__ import annotations

import math

import numpy as np
import pytest

from support.policy_servers import ACTIONS, SERVED
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.server.codec import decode, encode
from vla_adapter_ros.server.protocol import (
    Served,
    read_actions,
    read_request,
    read_sequence,
    read_timing,
    request_message,
)

VIEWS = dict.fromkeys(('third_person', 'wrist'), np.zeros((8, 8, 3), np.uint8))
REQUEST = request_message(Observation(VIEWS, np.zeros(7), 'reach', 0.0), VIEWS, 3, 0.9)
ANSWER = {'actions': ACTIONS, 'sequence': 3, 'server_timing': {'total_ms': 4.0}}
ODD = (
    None, True, -1, 0, 2**63, math.inf, math.nan, -1e300, '', 'x' * 500, b'\xff', [], [[]], {},
    {'a': {}}, np.zeros(0), np.full((8, 7), np.inf), np.zeros((8, 8, 3)), np.float32(1.0),
    ['a', 'b'], [1.5, 'a'], {'total_ms': math.nan},
)  # fmt: skip


def places(message, path=()):
    """Paths of all values in nested maps and lists."""
    inner = message.items() if isinstance(message, dict) else enumerate(message)
    for key, value in inner:
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))


def changed(data: bytes, path, value):
    """The message with another value at a path; without it where the value is Ellipsis."""
    message = place = decode(data)
    for key in path[:-1]:
        place = place[key]
    if value is Ellipsis:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return message


def read_answer(message):
    read_sequence(message)
    timing = read_timing(message)
    assert all(0 <= seconds < 1e4 for seconds in timing.values())
    return read_actions(message, (8, 7))


def request_as_server(message):
    request = read_request(message, SERVED.processing.cameras)
    assert request.observation.proprioception.dtype == np.float64
    assert request.deadline > 0
    views = SERVED.processing.views(request.observation)
    assert all(view.shape == (8, 8, 3) for view in views)


@pytest.mark.parametrize(
    ('message', 'read', 'least'),
    [(REQUEST, request_as_server, 100), (ANSWER, read_answer, 40)],
    ids=['request', 'answer'],
)
def test_odd_values_anywhere_are_refused_or_harmless(message, read, least):
    data, refused = encode(message), 0
    for path in places(decode(data)):
        for value in (*ODD, ...):
            try:
                read(changed(data, path, value))
            except VLAAdapterError as error:
                assert '\n' not in str(error) and len(str(error)) < 400
                refused += 1
    assert refused > least


def first_message(seeds):
    data = encode(SERVED.to_message())
    paths = list(places(decode(data)))
    for seed in seeds:
        random = np.random.default_rng(seed)
        value = (*ODD, ...)[random.integers(len(ODD) + 1)]
        yield changed(data, paths[random.integers(len(paths))], value)


def check_first(seeds) -> int:
    refused = 0
    for message in first_message(seeds):
        try:
            served = Served.from_message(message)
        except VLAAdapterError:
            refused += 1
        else:
            assert 0 < served.step_period < 60 and served.processing.images.size <= 4096
    return refused


def test_odd_values_in_the_first_message_are_refused_or_harmless():
    assert check_first(range(120)) > 60


@pytest.mark.slow(reason='twenty thousand contracts are read: half a minute')
def test_thousands_of_odd_first_messages_are_refused_or_harmless():
    check_first(range(1000, 21_000))
