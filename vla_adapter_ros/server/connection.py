# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One connection of a client to a policy server. Nothing here waits longer than it is told to."""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from vla_adapter_ros.errors import ServerError
from vla_adapter_ros.server.codec import decode, encode
from vla_adapter_ros.server.protocol import MAX_ANSWER_BYTES, TOKEN_VARIABLE, Served

_PORTS = {'ws': 80, 'wss': 443}
_LEAST_WAIT_S = 1e-3
_WATCH_PERIOD_S = 0.1
_LOADING = 503
_UNAUTHORISED = 401


class ServerAwayError(ServerError):
    """Nobody answers; `patience` [s] is how long this may last while everything is started."""

    patience = 10.0


class ServerLoadingError(ServerAwayError):
    """The server is there, and its policy is not yet: loading may take minutes."""

    patience = 600.0


class Connection:
    """An open connection, whose server has said what it serves.

    Args:
        url: `ws://HOST:PORT` or `wss://HOST:PORT`.
        token: shared with the server, or ''.
        timeout: for opening [s].

    Raises:
        ServerAwayError: nobody answers, or the policy is being loaded; try again.
        ServerError: the URL cannot be used, or the token is wrong.
        VLAAdapterError: what answers is not a policy server of this release.
    """

    def __init__(self, url: str, token: str, timeout: float) -> None:
        until = time.monotonic() + timeout
        self._write_until = math.inf
        self._closed = threading.Event()
        self._socket = _open(url, token, timeout)
        threading.Thread(target=self._watch_writes, name='policy server', daemon=True).start()
        try:
            self.served = Served.from_message(self.receive(until))
        except BaseException:
            self.close()
            raise

    def send(self, message: Mapping[str, Any], until: float) -> None:
        """Send a message.

        Args:
            message: see protocol.py.
            until: `time.monotonic()` at which a network that takes nothing is given up.

        Raises:
            ServerError: the connection is gone.
        """
        data = encode(message)
        self._write_until = until
        try:
            self._socket.send(data)
        except Exception as error:  # of websockets, ssl or the system
            raise ServerError(f'connection lost: {_describe(error)}') from None
        finally:
            self._write_until = math.inf

    def receive(self, until: float) -> dict[str, Any]:
        """Return the next message.

        Args:
            until: `time.monotonic()` at which waiting ends.

        Raises:
            ServerError: none came in time, the connection is gone, or it is a sentence of refusal.
            MessageError: it cannot be read.
        """
        left = max(until - time.monotonic(), _LEAST_WAIT_S)
        try:
            data = self._socket.recv(timeout=left)
        except TimeoutError:
            raise ServerError('no answer in time') from None
        except Exception as error:
            raise ServerError(f'connection lost: {_describe(error)}') from None
        if isinstance(data, str):
            raise ServerError(f'refused: {_one_line(data)}')
        return decode(data)

    def close(self) -> None:
        """Close without a farewell, which a dead network would not carry."""
        self._closed.set()
        self._cut()
        with contextlib.suppress(Exception):
            self._socket.close_socket()

    def _watch_writes(self) -> None:
        # A write has no time limit of its own; a timer for each would cost what a query costs.
        while not self._closed.wait(_WATCH_PERIOD_S):
            if time.monotonic() > self._write_until:
                self._cut()

    def _cut(self) -> None:
        """Let the system end every read and write, also those that another thread is inside."""
        with contextlib.suppress(Exception):
            self._socket.socket.shutdown(socket.SHUT_RDWR)


def _open(url: str, token: str, timeout: float) -> Any:
    from websockets.exceptions import InvalidHandshake, InvalidStatus
    from websockets.sync.client import connect

    host, port = _address(url)
    headers = {'Authorization': f'Bearer {token}'} if token else {}
    try:
        # Our own socket: no proxy of the environment is between robot and server.
        plain = socket.create_connection((host, port), timeout)
        plain.settimeout(None)  # each read and write has its own
        opened = connect(
            url, sock=plain, compression=None, additional_headers=headers, open_timeout=timeout,
            close_timeout=timeout, max_size=MAX_ANSWER_BYTES,
        )  # fmt: skip
        return opened.__enter__()  # `close` is its end; its own would wait for a farewell
    except InvalidStatus as error:
        code = error.response.status_code
        text = _one_line((error.response.body or b'').decode(errors='replace'))
        if code == _LOADING:
            raise ServerLoadingError(text) from None
        if code == _UNAUTHORISED:
            text = f'wrong or no token: {TOKEN_VARIABLE} must be what it is for the server'
        raise ServerError(f'refused: {text or code}') from None
    except ssl.SSLCertVerificationError as error:
        raise ServerError(f'certificate: {error.verify_message}') from None
    except InvalidHandshake as error:
        raise ServerAwayError(f'no WebSocket there: {_describe(error)}') from None
    except Exception as error:  # of websockets, ssl or the system
        raise ServerAwayError(_describe(error)) from None


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        if parts.scheme in _PORTS and parts.hostname:
            return parts.hostname, parts.port or _PORTS[parts.scheme]
    except ValueError:
        pass
    raise ServerError(f'got {url!r}, expected ws://HOST:PORT or wss://HOST:PORT')


def _describe(error: BaseException) -> str:
    if isinstance(error.__cause__, OSError):
        error = error.__cause__
    if isinstance(error, TimeoutError):
        return 'no answer in time'
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return _one_line(text) or type(error).__name__


def _one_line(text: str) -> str:
    return ' '.join(text.split())[:300]


