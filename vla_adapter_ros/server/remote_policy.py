# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A policy that is computed by a policy server: `Policy` for the control loop, without a network.

    policy = RemotePolicy('ws://gpu:8000')
    chunk = policy.predict(Observation(images, proprioception, 'put the red block in the bin', t))

Images are rotated and resized here, so that a query is small (294 KiB for two views of 224²), and
exactly as `Policy` would: the actions are the same. One thread at a time may predict.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from vla_adapter_ros.errors import MessageError, ServerError, VLAAdapterError
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.processing.prompt import clean_instruction
from vla_adapter_ros.processing.tokenizer import split_words
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.server.access import check_libraries
from vla_adapter_ros.server.connection import Connection, ServerAwayError
from vla_adapter_ros.server.protocol import (
    Served,
    read_actions,
    read_sequence,
    read_timing,
    request_message,
)

_OPEN_TIMEOUT_S = 2.0
_RETRY_S = 0.25  # until the server is there for the first time
# After a failure the next attempts to connect come at least so far apart.
_FIRST_BACK_OFF_S, _LONGEST_BACK_OFF_S = 0.2, 2.0
_LEAST_DEADLINE_S = 1e-3
_WARM_UP_IMAGE_SIZE = (640, 480)  # width, height [px]
_WARM_UP_INSTRUCTION = 'reach'


class RemotePolicy:
    """The policy of a server.

    Args:
        url: `ws://HOST:PORT` or `wss://HOST:PORT`.
        token: shared with the server, or ''.
        timeout: longest time for an answer [s], also to connect again; a late one is dropped.
        cancelled: asked while waiting for the server to be there.

    Attributes:
        served: what the server said of its policy.

    Raises:
        ServerError: the URL cannot be used, nobody answers there, or what answers is not a policy
            server of this release.
    """

    def __init__(
        self,
        url: str,
        token: str = '',
        timeout: float = 1.0,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        check_libraries()
        self.url = url
        self._token = token
        self._timeout = timeout
        self._sequence = 0
        self._closed = False
        self._failures = 0
        self._not_before = self._lost_since = 0.0
        self._why_lost = ''
        self._connection: Connection | None = self._connect_patiently(cancelled)
        self.served: Served = self._connection.served

    @property
    def contract(self) -> RobotContract | None:
        """The robot that the server's policy was trained for."""
        return self.served.contract

    @property
    def step_period(self) -> float:
        """Time between two actions [s]."""
        return self.served.step_period

    def clean_instruction(self, text: str) -> str:
        """Return an instruction as the server's policy reads it. Raises InstructionError."""
        return clean_instruction(text, self)

    def unknown_words(self, instruction: str) -> list[str]:
        """Return the words of an instruction that the server's policy does not know."""
        known = self.served.words
        return [w for w in dict.fromkeys(split_words(instruction)) if known and w not in known]

    def warm_up(self) -> None:
        """Ask once, so that the first real query is not slower here than the others.

        Raises:
            ServerError: no answer.
            MessageError: an answer that cannot be used.
        """
        images = {}
        for name in self.served.processing.cameras:
            camera = self.contract.cameras.get(name) if self.contract else None
            width, height = camera.seen_size if camera else _WARM_UP_IMAGE_SIZE
            images[name] = np.zeros((height, width, 3), np.uint8)
        state = np.zeros(self.served.state_size)
        self.predict(Observation(images, state, _WARM_UP_INSTRUCTION, 0.0))

    def close(self) -> None:
        """Give the connection up; another thread may be inside `predict`, which then fails."""
        self._closed = True
        if (connection := self._connection) is not None:
            connection.close()

    def predict(self, observation: Observation) -> ActionChunk:
        """Return the chunk for one observation: actions (K, A) in contract units.

        Raises:
            ObservationError: an image is missing or malformed.
            ServerError: the server cannot be reached, is late, or refuses.
            MessageError: its answer cannot be used.
        """
        start = time.monotonic()
        views = self.served.processing.views(observation)
        prepared = time.monotonic()
        try:
            answer, actions = self._ask(observation, views, start + self._timeout)
        except (ServerError, MessageError) as error:
            raise type(error)(f'policy server {self.url}: {error}') from None
        end = time.monotonic()
        timing = read_timing(answer)
        waited, total = timing.get('wait', 0.0), timing.get('total', 0.0)
        return ActionChunk(
            actions=actions,
            observation_stamp=observation.stamp,
            step_period=self.served.step_period,
            instruction=observation.instruction,
            latencies={
                'resize': prepared - start,
                'network': max(end - prepared - waited - total, 0.0),
                'server_wait': waited,
                'preprocess': timing.get('preprocess', 0.0),
                'model': timing.get('model', 0.0),
                'total': end - start,
            },
            provenance={**self.served.provenance, 'policy_server': self.url},
        )

    def _ask(
        self, observation: Observation, views: list[np.ndarray], until: float
    ) -> tuple[dict[str, Any], np.ndarray]:
        """Return the answer to an observation, and its actions (K, A)."""
        connection = self._connected(until)
        self._sequence += 1
        named = dict(zip(self.served.processing.cameras, views, strict=True))
        left = max(until - time.monotonic(), _LEAST_DEADLINE_S)
        try:
            message = request_message(observation, named, self._sequence, left)
            connection.send(message, until)
            answer = connection.receive(until)
            while (number := read_sequence(answer)) != self._sequence:
                # An old answer, played back by whatever is between here and the server.
                if number is None or number > self._sequence:
                    raise MessageError(f'got answer {number} to request {self._sequence}')
                answer = connection.receive(until)
            if (refusal := answer.get('error')) is None:
                return answer, read_actions(answer, self.served.action_shape)
        except (ServerError, MessageError) as error:
            # Whatever comes later on this connection belongs to a request that is given up.
            self._lose(str(error))
            raise
        raise ServerError(f'refused: {str(refusal)[:300]}')

    def _connected(self, until: float) -> Connection:
        """Return the connection, opened again if it was lost and the time has come."""
        if self._closed:
            raise ServerError('closed')
        if self._connection is not None:
            return self._connection
        now = time.monotonic()
        if now >= self._not_before:
            try:
                timeout = max(min(until - now, _OPEN_TIMEOUT_S), _LEAST_DEADLINE_S)
                connection = Connection(self.url, self._token, timeout)
                self._check_same(connection)
            except VLAAdapterError as error:
                self._lose(str(error))
            else:
                self._connection, self._failures = connection, 0
                if self._closed:  # meanwhile
                    connection.close()
                return connection
        away = time.monotonic() - self._lost_since
        raise ServerError(f'not reachable for {away:.0f} s ({self._why_lost}); trying again')

    def _check_same(self, connection: Connection) -> None:
        if not connection.served.is_same_policy(self.served):
            connection.close()
            raise ServerError('it serves another policy than before: configure the node again')

    def _lose(self, why: str) -> None:
        now = time.monotonic()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._failures == 0:
            self._lost_since = now
        self._why_lost = why
        self._not_before = now + min(_FIRST_BACK_OFF_S * 2**self._failures, _LONGEST_BACK_OFF_S)
        self._failures = min(self._failures + 1, 10)

    def _connect_patiently(self, cancelled: Callable[[], bool]) -> Connection:
        start = time.monotonic()
        while True:
            try:
                return Connection(self.url, self._token, _OPEN_TIMEOUT_S)
            except ServerAwayError as error:
                if cancelled() or time.monotonic() > start + error.patience:
                    raise ServerError(f'policy server {self.url}: {error}') from None
            except VLAAdapterError as error:
                raise ServerError(f'policy server {self.url}: {error}') from None
            time.sleep(_RETRY_S)
