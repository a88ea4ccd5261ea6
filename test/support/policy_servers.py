# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A policy server in a thread, and a cable between it and its client that can be pulled."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time

from vla_adapter_ros.server.access import Access
from vla_adapter_ros.server.policy_server import PolicyServer


class RunningServer:
    """A server of `make_policy()` on a free port of this machine; use as a context."""

    def __init__(self, make_policy, wait=True, **access):
        self.server = PolicyServer(make_policy, Access(**{'port': 0, **access}))
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
    """A relay in front of a port. `cut`: nothing passes, and nobody is told. Use as a context."""

    def __init__(self, port: int):
        self._target = port
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port = self._listener.getsockname()[1]
        self.url = f'ws://127.0.0.1:{self.port}'
        self.whole = threading.Event()
        self.whole.set()
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        self.whole.clear()

    def mend(self):
        self.whole.set()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
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
        for end in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Scripted:
    """A policy that predicts as a test says; all else is that of a real one."""

    def __init__(self, policy, predict):
        self._policy, self.predict = policy, predict

    def __getattr__(self, name):
        return getattr(self._policy, name)
