# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Messages between robot and policy server: arrays survive bit for bit, nonsense is refused."""

from __future__ import annotations

import functools
import tracemalloc

import msgpack
import numpy as np
import pytest

from vla_adapter_ros.errors import MessageError
from vla_adapter_ros.server.codec import DTYPES, decode, encode

MIB = 2**20


def example() -> dict:
    random = np.random.default_rng(0)
    return {
        'images': {'wrist': random.integers(0, 256, (6, 5, 3), dtype=np.uint8)},
        'state': random.uniform(-1, 1, 7),
        'prompt': 'pick up the red block',
        'sequence': 2**40,
        'deadline': 0.75,
        'flags': [True, None, -1],
    }


def openpi_pack(array):
    """What openpi's msgpack_numpy writes."""
    return {
        b'__ndarray__': True, b'data': array.tobytes(), b'dtype': array.dtype.str,
        b'shape': array.shape,
    }  # fmt: skip


@pytest.mark.parametrize('dtype', sorted(DTYPES))
def test_arrays_come_back_bit_for_bit_and_read_only(dtype):
    sent = np.random.default_rng(1).integers(0, 2, (3, 1, 4)).astype(dtype)
    got = decode(encode({'a': sent[::2], 'n': sent.dtype.type(1), 'none': sent[:0]}))
    assert got['a'].dtype == sent.dtype and got['a'].tobytes() == sent[::2].tobytes()
    assert got['n'] == 1 and isinstance(got['n'], sent.dtype.type | float)
    assert got['none'].shape == (0, 1, 4)
    assert not got['a'].flags.writeable


def test_not_a_number_and_infinity_survive_for_the_receiver_to_judge():
    values = np.array([np.nan, np.inf, -0.0])
    assert decode(encode({'a': values}))['a'].tobytes() == values.tobytes()


def test_a_message_of_openpi_is_read_and_ours_is_read_by_openpi():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    theirs = msgpack.packb({'observation/image': openpi_pack(image), 'prompt': 'reach'})
    assert (decode(theirs)['observation/image'] == image).all()

    def hook(values):
        if b'__ndarray__' not in values:
            return values
        dtype = np.dtype(values[b'dtype'])
        return np.ndarray(buffer=values[b'data'], dtype=dtype, shape=values[b'shape'])

    ours = msgpack.unpackb(encode({'actions': np.eye(3)}), object_hook=hook)
    assert (ours['actions'] == np.eye(3)).all()


def packed_array(**changes) -> bytes:
    values = openpi_pack(np.zeros((2, 3), np.float32))
    values.update({key.encode(): value for key, value in changes.items()})
    return msgpack.packb({'a': {k: v for k, v in values.items() if v is not Ellipsis}})


@pytest.mark.parametrize(
    ('data', 'part'),
    [
        (packed_array(dtype='|O'), "got '|O', allowed: "),
        (packed_array(dtype='>f4'), "got '>f4'"),
        (packed_array(dtype='<U6'), "got '<U6'"),
        (packed_array(dtype='<c8'), "got '<c8'"),
        (packed_array(dtype=['f4']), 'array.dtype'),
        (packed_array(shape=[2, 4]), '24 bytes of data, but shape [2, 4] of float32 has 32'),
        (packed_array(shape=[-2, -3]), 'whole numbers'),
        (packed_array(shape=[True, 6]), 'whole numbers'),
        (packed_array(shape=[2**40, 0]), 'whole numbers'),
        (packed_array(shape=[1, 1, 1, 2, 3]), 'at most 4'),
        (packed_array(shape='23'), 'at most 4'),
        (packed_array(data='x' * 24), 'array.data: got str'),
        (packed_array(data=...), 'expected data, dtype and shape'),
        (packed_array(extra=1), 'expected data, dtype and shape'),
        (msgpack.packb({b'__npgeneric__': True, b'data': 1e99, b'dtype': '<i4'}), 'number'),
        (msgpack.packb({b'__npgeneric__': True, b'data': 'x', b'dtype': '<i4'}), 'number'),
        (msgpack.packb([1, 2]), 'got list, expected a map'),
        (msgpack.packb(openpi_pack(np.zeros(2))), 'got ndarray, expected a map'),
        (msgpack.packb({'a': {b'b': 1}}), 'keys that are not text'),
        (msgpack.packb({1: 2}), 'not msgpack that is accepted'),
        (msgpack.packb({'a': msgpack.ExtType(5, b'x')}), 'not msgpack that is accepted'),
        (msgpack.packb({'a': msgpack.Timestamp(1)}), 'not msgpack that is accepted'),
        (msgpack.packb({'a': [[]] * 100}) * 2, 'not msgpack that is accepted'),
        (msgpack.packb({'a': 'x' * 70000}), 'not msgpack that is accepted'),
        (msgpack.packb({'a': b'\xff'}, use_bin_type=False), 'not msgpack that is accepted'),
        (b'\x91' * 5000, 'not msgpack that is accepted'),
        (b'', 'not msgpack that is accepted'),
        ('text', 'got str, expected binary'),
    ],
)
def test_what_is_not_allowed_is_named(data, part):
    with pytest.raises(MessageError) as caught:
        decode(data)
    assert part in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('value', [{'a': object()}, {'a': np.array([object()])}, {'a': 1j}])
def test_what_cannot_be_sent_is_refused_before_it_is(value):
    with pytest.raises(MessageError, match='cannot be sent'):
        encode(value)


@pytest.mark.parametrize(
    'data',
    [
        # Lists that each promise as many items as the message has bytes.
        b'\x81\xa1a' + b'\xdd\x00\x0f\x00\x00' * 900 + bytes(MIB),
        b'\x81\xa1a' + b'\xdc\x00\x80' * 900 + bytes(MIB),
        # A million empty maps.
        msgpack.packb({'a': [[[{}] * 100] * 100] * 100}),
        msgpack.packb({'a': {str(i): {} for i in range(100)}, 'b': [[{}] * 100] * 100}),
    ],
)
def test_memory_for_a_hostile_message_is_bounded(data):
    tracemalloc.start()
    try:
        with pytest.raises(MessageError):
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()


@functools.cache
def seeds() -> list[bytes]:
    image = {'observation/image': openpi_pack(np.zeros((4, 4, 3), np.uint8)), 'prompt': 'a'}
    return [encode(example()), msgpack.packb(image), packed_array()]


def mutate(random: np.random.Generator) -> bytes:
    data = bytearray(seeds()[random.integers(len(seeds()))])
    for _ in range(random.integers(1, 4)):
        at = int(random.integers(len(data)))
        kind = random.integers(4)
        if kind == 0:
            data[at] = int(random.integers(256))
        elif kind == 1:
            data[at] ^= 1 << int(random.integers(8))
        elif kind == 2:
            data[at:at] = random.bytes(int(random.integers(1, 6)))
        else:
            del data[at : at + int(random.integers(1, 6))]
        data = data or bytearray(b'\xc0')
    return random.bytes(int(random.integers(40))) if random.integers(8) == 0 else bytes(data)


def fuzz(count: int, seed: int) -> int:
    random = np.random.default_rng(seed)
    refused = 0
    for _ in range(count):
        data = mutate(random)
        try:
            assert isinstance(decode(data), dict)
        except MessageError as error:
            assert len(str(error)) < 300
            refused += 1
    return refused


def test_spoilt_messages_are_read_or_refused_but_raise_nothing_else():
    assert 500 < fuzz(1500, 0) < 1500


@pytest.mark.slow(reason='a hundred thousand messages: half a minute')
def test_a_hundred_thousand_spoilt_messages_raise_nothing_else():
    tracemalloc.start()
    try:
        fuzz(100_000, 1)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()
