# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Policy servers in a thread, real and made up, and a cable before them that can be pulled."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
import zlib
from typing import ClassVar

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.processing.images import ImageConfig
from vla_adapter_ros.processing.pipeline import InputPipeline, ProcessingConfig
from vla_adapter_ros.processing.statistics import Statistics, VectorStatistics
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.server.access import Access
from vla_adapter_ros.server.codec import decode, encode
from vla_adapter_ros.server.policy_server import PolicyServer
from vla_adapter_ros.server.protocol import Served

SERVED = Served(
    resolve_contract('alicia_d'),
    ProcessingConfig(ImageConfig(size=8, jpeg_round_trip=False), ('third_person', 'wrist')),
    (8, 7), 7, 0.1, {'fingerprint': 'abc', 'statistics': 'own', 'device': 'cuda'},
)  # fmt: skip
ACTIONS = np.linspace(-0.5, 0.5, 56).reshape(8, 7)


class RunningServer:
    """A server of `make_policy()` on a free port of this machine; use as a context."""

    def __init__(self, make_policy, wait=True, batch=1, **access):
        self.server = PolicyServer(make_policy, Access(**{'port': 0, **access}), batch)
        self._wait, self._listening = wait, threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.error = None

    async def _run(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self.server.run(self._stop, self._listening.set)
        except Exception as error:
            self.error = error
        self._listening.set()

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def port(self) -> int:
        return int(self.url.rsplit(':', 1)[1])

    def __enter__(self):
        self._thread.start()
        assert self._listening.wait(10)
        end = time.monotonic() + 60
        while self._wait and self.server.served is None and self.error is None:
            assert time.monotonic() < end
            time.sleep(0.002)
        return self

    def __exit__(self, *_):
        with contextlib.suppress(RuntimeError):  # it has ended already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()


class Cable:
    """A relay in front of a port; use as a context.

    `cut`: nothing passes, and nobody is told. `kill`: as if the server's process had ended.
    """

    def __init__(self, port: int):
        self._target = port
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port = self._listener.getsockname()[1]
        self.url = f'ws://127.0.0.1:{self.port}'
        self.whole = threading.Event()
        self.whole.set()
        self.dead = False
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        self.whole.clear()

    def kill(self):
        self.dead = True
        self._hang_up()

    def mend(self):
        self.dead = False
        self.whole.set()

    def _hang_up(self):
        while self._sockets:
            end = self._sockets.pop()
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                if self.dead:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(('127.0.0.1', self._target))
                except OSError:
                    near.close()
                    continue
                self._sockets += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.whole.wait()
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.mend()
        self._sockets.append(self._listener)
        self._hang_up()


class FakePolicy:
    """A policy with a real pipeline, and actions that depend on every bit of its inputs."""

    contract, step_period = SERVED.contract, 0.1
    chunk_size = 8
    provenance: ClassVar = {'checkpoint': 'made up', 'fingerprint': 'abc', 'statistics': 'own'}

    def __init__(self, predict=None):
        rows = np.repeat([-np.ones(7), np.ones(7)], 500, axis=0)
        self.statistics = Statistics('own', *2 * [VectorStatistics.from_data(rows)])
        # Turned twice, an image would be another one: the client must send it once turned.
        turns = {'wrist': 180, 'third_person': 90}
        images = ImageConfig(size=48, jpeg_round_trip=False)
        config = ProcessingConfig(images, ('third_person', 'wrist'), turns, 'plain')
        self.pipeline = InputPipeline(config, Tokenizer.from_texts(), self.statistics)
        self._behave = predict
        self.batches = []

    def predict(self, observation):
        if self._behave is not None:
            self._behave(observation)
        start = time.perf_counter()
        inputs = self.pipeline(observation)
        seed = zlib.crc32(b''.join(array.tobytes() for array in vars(inputs).values()))
        actions = np.random.default_rng(seed).uniform(-1, 1, (8, 7))
        stages = dict.fromkeys(('preprocess', 'model', 'total'), time.perf_counter() - start)
        return ActionChunk(actions, observation.stamp, 0.1, observation.instruction, stages)

    def predict_many(self, observations):
        self.batches.append([each.instruction for each in observations])
        return [self.predict(each) for each in observations]


def good(request):
    return [encode({'actions': ACTIONS, 'sequence': request['sequence'], 'server_timing': {}})]


class FakeServer:
    """Says `first`, then what `answer(request)` lists; use as a context."""

    def __init__(self):
        self.first, self.answer, self.connections = SERVED.to_message(), good, 0
        self.requests = []

    def _converse(self, connection):
        self.connections += 1
        first = self.first
        connection.send(first if isinstance(first, (bytes, str)) else encode(first))
        with contextlib.suppress(ConnectionClosed):
            for data in connection:
                self.requests.append(decode(data))
                for message in self.answer(self.requests[-1]):
                    connection.send(message)

    def __enter__(self):
        self._server = serve(self._converse, '127.0.0.1', 0, compression=None)
        self.port = self._server.socket.getsockname()[1]
        self.url = f'ws://127.0.0.1:{self.port}'
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
