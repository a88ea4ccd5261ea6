# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The worker's side: answers requests, runs an episode as a dialogue. Needs only NumPy."""

from __future__ import annotations

import contextlib
import socket
import traceback
from collections.abc import Callable, Generator, Mapping
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.suites.wire import WireError, receive, send

Message = tuple[Mapping[str, Any], Mapping[str, np.ndarray]]
# Yields what the policy must see, is sent its actions, returns the last message.
Dialogue = Generator[Message, np.ndarray, Message]


def serve(
    descriptor: int,
    hello: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    episode: Callable[[Mapping[str, Any]], Dialogue],
) -> None:
    """Answer requests until the other end goes away.

    `hello` is answered by a header. `episode` is answered by observations, each of which is to be
    answered by `actions`, and by the outcome. An error is sent as one line; its traceback is
    printed, which is to the log.
    """
    with socket.socket(fileno=descriptor) as connection, contextlib.suppress(WireError):
        while True:
            request, _ = receive(connection)
            try:
                if request['do'] == 'hello':
                    send(connection, hello(request))
                else:
                    _converse(connection, episode(request))
            except WireError:
                raise
            except Exception as error:
                traceback.print_exc()
                send(connection, {'error': f'{type(error).__name__}: {error}'[:500]})


def _converse(connection: socket.socket, dialogue: Dialogue) -> None:
    try:
        message = next(dialogue)
        while True:
            send(connection, *message)
            _, arrays = receive(connection)
            message = dialogue.send(arrays['actions'])
    except StopIteration as end:
        send(connection, *end.value)
