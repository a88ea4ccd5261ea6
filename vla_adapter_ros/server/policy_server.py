# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A WebSocket server that answers observations with action chunks.

    python -m vla_adapter_ros.server runs/pick/best --device cuda
    curl http://127.0.0.1:8000/healthz

Clients are our own `RemotePolicy` and those of openpi (protocol.py). An error is told to the
client in one sentence; the traceback of a fault in code is in this process's log only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import Request as HttpRequest
from websockets.asyncio.server import Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from vla_adapter_ros.errors import MessageError, ServerError, VLAAdapterError
from vla_adapter_ros.server.access import Access
from vla_adapter_ros.server.codec import decode, encode
from vla_adapter_ros.server.policy_thread import PolicyThread
from vla_adapter_ros.server.protocol import (
    MAX_REQUEST_BYTES,
    Request,
    Served,
    read_request,
    read_sequence,
)

if TYPE_CHECKING:
    from vla_adapter_ros.inference.chunk import PipelinePolicy

# Each may have one request in the queue, and one arriving.
MOST_CLIENTS = 16
CLOSE_TIMEOUT_S = 1.0
# Most of one read. Two views of 224×224 pixels are 294 KiB: asyncio's 256 KiB would make it two.
READ_BYTES = 2**19
_UNUSABLE = 1007  # close code of a message that cannot be read
_log = logging.getLogger(__name__)
# What strangers do to the port is no fault of ours.
_quiet = logging.getLogger(f'{__name__}.websockets')
_quiet.setLevel(logging.CRITICAL)


class PolicyServer:
    """A policy, and the connections that ask it.

    Args:
        make_policy: loads and warms up the policy; the port is open meanwhile and says so.
        access: where to listen, and whom to answer.
        batch: most observations that are computed at once, see `PolicyThread`.

    Attributes:
        url: where it listens, once it does.
        served: what it serves, once the policy is loaded.
    """

    def __init__(
        self,
        make_policy: Callable[[], PipelinePolicy],
        access: Access | None = None,
        batch: int = 1,
    ) -> None:
        self._access = access or Access()
        self._thread = PolicyThread(make_policy, batch)
        self._clients = 0
        self._failed = ''  # name of the fault in code that the last inference ended with
        self._awaited: set[asyncio.Future[dict[str, Any]]] = set()
        self.url = ''
        self.served: Served | None = None

    async def run(self, stop: asyncio.Event, listening: Callable[[], None] = lambda: None) -> None:
        """Listen, load the policy, and answer until `stop` is set.

        Args:
            stop: set it to end.
            listening: called when the port is open.

        Raises:
            ServerError: the address or the certificate cannot be used.
            Exception: whatever loading the policy raised.
        """
        access = self._access
        server = serve(
            self._converse, access.host, access.port, ssl=access.tls(),
            process_request=self._admit, origins=[None], compression=None,
            max_size=MAX_REQUEST_BYTES, max_queue=1, close_timeout=CLOSE_TIMEOUT_S, logger=_quiet,
        )  # fmt: skip
        try:
            opened = await server
        except OSError as error:
            raise ServerError(
                f'cannot listen on {access.host}:{access.port}: '
                + str(error.strerror or error).rpartition(': ')[2]  # asyncio's repeats the address
            ) from None
        async with opened:
            scheme = 'wss' if access.certificate else 'ws'
            host, port = next(iter(opened.sockets)).getsockname()[:2]
            self.url = f'{scheme}://{f"[{host}]" if ":" in host else host}:{port}'
            listening()
            self._thread.start()
            await self._until_stopped(stop)

    async def _until_stopped(self, stop: asyncio.Event) -> None:
        stopped = asyncio.ensure_future(stop.wait())
        loaded = asyncio.wrap_future(self._thread.loaded)
        await asyncio.wait((stopped, loaded), return_when=asyncio.FIRST_COMPLETED)
        if loaded.done():
            self.served = loaded.result()
            _log.info(f'ready: {self.served.provenance.get("checkpoint", "")} at {self.url}')
        await stopped
        for future in self._awaited:
            future.cancel()  # else a model that hangs would keep its client, and this, waiting

    def _admit(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        """Answer before a WebSocket is made: health, and those who may not have one."""
        loading = self.served is None
        if request.path == '/healthz':
            if loading:
                return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, 'loading\n')
            if self._failed:
                text = f'the last inference failed: {self._failed}\n'
                return connection.respond(HTTPStatus.INTERNAL_SERVER_ERROR, text)
            return connection.respond(HTTPStatus.OK, 'OK\n')
        if not self._access.allows(request.headers):
            _log.warning(f'{_peer(connection)}: refused, wrong or no token')
            return connection.respond(HTTPStatus.UNAUTHORIZED, 'wrong or no token\n')
        if loading:
            text = 'the policy is being loaded\n'
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, text)
        if self._clients >= MOST_CLIENTS:
            text = f'{MOST_CLIENTS} clients are connected already\n'
            return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, text)
        return None

    async def _converse(self, connection: ServerConnection) -> None:
        assert self.served is not None
        peer = _peer(connection)
        _log.info(f'{peer}: connected')
        self._clients += 1
        connection.transport.max_size = READ_BYTES  # of asyncio's own transport for sockets
        try:
            await connection.send(encode(self.served.to_message()))
            async for data in connection:
                if not await self._answer(connection, data):
                    break
        except ConnectionClosed as closed:
            _log.info(f'{peer}: {closed}')
        finally:
            self._clients -= 1
            _log.info(f'{peer}: gone')

    async def _answer(self, connection: ServerConnection, data: str | bytes) -> bool:
        """Answer one message; returns whether the conversation can go on."""
        assert self.served is not None
        sequence = None
        try:
            message = decode(data)
        except MessageError as error:
            await connection.send(str(error))
            await connection.close(_UNUSABLE)
            return False
        try:
            sequence = read_sequence(message)
            request = read_request(message, self.served.processing.cameras)
            await connection.send(encode(await self._infer(request)))
        except ConnectionClosed:
            raise
        except Exception as error:
            await connection.send(_refusal(_sentence(error), sequence))
        return True

    async def _infer(self, request: Request) -> dict[str, Any]:
        future = asyncio.wrap_future(self._thread.submit(request))
        self._awaited.add(future)
        try:
            answer = await future
            self._failed = ''
            return answer
        except VLAAdapterError:
            raise
        except Exception as error:
            self._failed = type(error).__name__
            raise
        finally:
            self._awaited.discard(future)


def _refusal(sentence: str, sequence: int | None) -> str | bytes:
    """Return what a client is told; openpi's take a text for an error."""
    if sequence is None:
        return sentence
    return encode({'error': sentence, 'sequence': sequence})


def _sentence(error: Exception) -> str:
    if isinstance(error, VLAAdapterError):
        return str(error)
    _log.error('inference failed', exc_info=error)
    return f'inference failed on the server ({type(error).__name__}); its log says more'


def _peer(connection: ServerConnection) -> Any:
    address = connection.remote_address
    return f'{address[0]}:{address[1]}' if isinstance(address, tuple) else address
