# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What a policy server and its clients say to each other.

The form is openpi's: the server says first what it serves; then a message with an observation is
answered by one with actions. What only our own client sends, others may leave out:

    sequence   the answer carries the same number, so that an old one is not taken for it
    deadline   seconds from arrival after which the actions are of no use and not computed
    resized    the images are the network's views, rotated and resized by the client

A request that cannot be answered gets `{'error': sentence, 'sequence': number}`, or the sentence
as text if it has no sequence number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vla_adapter_ros.errors import MessageError, VLAAdapterError
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.processing.pipeline import ProcessingConfig
from vla_adapter_ros.robot.contract import RobotContract

PROTOCOL = 1
SERVER = 'vla_adapter_ros policy server'
DEFAULT_PORT = 8000
# Environment variable with the password that server and clients share.
TOKEN_VARIABLE = 'VLA_POLICY_TOKEN'
# Two views of 1280×720 are 5.3 MiB.
MAX_REQUEST_BYTES = 16 * 2**20
MAX_ANSWER_BYTES = 2**20
MOST_PIXELS = 4096  # side of a view
# Names of the first two cameras in messages of openpi's LIBERO clients.
_OPENPI_IMAGES = ('observation/image', 'observation/wrist_image')
_OPENPI_STATE = 'observation/state'


@dataclass(frozen=True)
class Served:
    """What a server serves: all that a robot must know of the policy.

    Attributes:
        contract: the robot it was trained for; None: it does not say.
        processing: how images become views.
        action_shape: (K, A), steps and values of a chunk.
        state_size: P, values of proprioception.
        step_period: time between two actions [s].
        provenance: checkpoint, fingerprint, statistics key, device, …
        words: those that the policy knows; empty: it reads any text.
    """

    contract: RobotContract | None
    processing: ProcessingConfig
    action_shape: tuple[int, int]
    state_size: int
    step_period: float
    provenance: Mapping[str, str] = field(default_factory=dict)
    words: frozenset[str] = frozenset()

    def is_same_policy(self, other: Served) -> bool:
        """Return whether a server that came back serves what it did, on whatever device."""
        keys = ('fingerprint', 'statistics')
        mine, theirs = (
            replace(s, provenance={k: s.provenance.get(k, '') for k in keys})
            for s in (self, other)
        )
        return mine == theirs

    def to_message(self) -> dict[str, Any]:
        """Return the first message of a server."""
        return {
            'server': SERVER,
            'protocol': PROTOCOL,
            'contract': None if self.contract is None else self.contract.to_dict(),
            'preprocessing': self.processing.to_dict(),
            'action_shape': list(self.action_shape),
            'state_size': self.state_size,
            'step_period': self.step_period,
            'provenance': dict(self.provenance),
            'words': ' '.join(sorted(self.words)),
        }

    @staticmethod
    def from_message(message: Mapping[str, Any]) -> Served:
        """Read the first message of a server.

        Raises:
            MessageError: it is another kind of server, or speaks another version.
            VLAAdapterError: its contract or preprocessing cannot be used.
        """
        try:
            json.dumps(message, allow_nan=False)
        except (TypeError, ValueError):
            raise MessageError(
                'its first message is malformed: more than text and finite numbers'
            ) from None
        if message.get('server') != SERVER:
            raise MessageError('it is not a policy server of vla_adapter_ros')
        if message.get('protocol') != PROTOCOL:
            raise MessageError(
                f'it speaks protocol {message.get("protocol")!r}, this release {PROTOCOL}: '
                'install the same release on both machines'
            )
        contract = message.get('contract')
        try:
            steps, values = (int(n) for n in message['action_shape'])
            served = Served(
                None if contract is None else RobotContract.from_dict(contract, 'its contract'),
                ProcessingConfig.from_dict(message['preprocessing']),
                (steps, values),
                int(message['state_size']),
                float(message['step_period']),
                {str(k): str(v) for k, v in message['provenance'].items()},
                frozenset(message['words'].split()),
            )
        except VLAAdapterError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise MessageError(f'its first message is malformed: {error!r:.200}') from None
        possible = 0 < steps <= 1000 and 0 < values <= 1000 and 0 < served.step_period < 60
        if not possible or served.processing.images.size > MOST_PIXELS:
            raise MessageError(
                f'its chunks have shape {served.action_shape}, its steps {served.step_period} s, '
                f'its views {served.processing.images.size} pixels: not possible'
            )
        return served


@dataclass(frozen=True)
class Request:
    """An observation, and until when its actions are wanted.

    Attributes:
        observation: its stamp is 0: times of the robot mean nothing to the server.
        sequence: number of the request, or None.
        deadline: seconds from arrival, or infinity.
    """

    observation: Observation
    sequence: int | None = None
    deadline: float = math.inf


def request_message(
    observation: Observation, views: Mapping[str, np.ndarray], sequence: int, deadline: float
) -> dict[str, Any]:
    """Return the message that asks for the actions of an observation with resized views."""
    return {
        'images': dict(views),
        'state': np.asarray(observation.proprioception, np.float64),
        'prompt': observation.instruction,
        'resized': True,
        'sequence': sequence,
        'deadline': deadline,
    }


def read_sequence(message: Mapping[str, Any]) -> int | None:
    """Return the number of a request or an answer; None if it has none."""
    sequence = message.get('sequence')
    if sequence is None:
        return None
    if type(sequence) is not int or sequence < 0:
        raise MessageError(f'sequence: got {str(sequence)[:40]!r}, expected a whole number')
    return sequence


def read_request(message: Mapping[str, Any], cameras: Sequence[str]) -> Request:
    """Read an observation, in our own form or in that of openpi's LIBERO clients.

    Args:
        message: decoded. Keys that are not known are left alone: clients of others send more.
        cameras: the network's, in its order.

    Raises:
        MessageError: a key is missing or of the wrong kind; says which.
    """
    images = message.get('images')
    if images is None:
        named = {f'observation/{name}': name for name in cameras}
        named = {**dict(zip(_OPENPI_IMAGES, cameras)), **named}
        images = {name: message[key] for key, name in named.items() if key in message}
    state = message.get('state', message.get(_OPENPI_STATE))
    prompt, deadline = message.get('prompt'), message.get('deadline', math.inf)
    if not isinstance(images, Mapping) or not images:
        raise MessageError(f'images: expected a map of {list(cameras)} to (H, W, 3) uint8 arrays')
    for name, image in images.items():
        if not isinstance(image, np.ndarray):
            raise MessageError(f'images: {name[:40]} is not an array')
    if not isinstance(state, np.ndarray) or state.dtype.kind not in 'fiu':
        raise MessageError('state: expected an array of numbers')
    if not isinstance(prompt, str):
        raise MessageError(f'prompt: got {type(prompt).__name__}, expected text')
    if type(deadline) not in (int, float) or not deadline > 0:
        raise MessageError(f'deadline: got {str(deadline)[:40]!r}, expected seconds above 0')
    resized = message.get('resized', False)
    if type(resized) is not bool:
        raise MessageError('resized: expected true or false')
    state = state.astype(np.float64)
    observation = Observation(images, state, prompt, 0.0, resized)
    return Request(observation, read_sequence(message), float(deadline))


def answer_message(chunk: ActionChunk, request: Request, waited: float) -> dict[str, Any]:
    """Return the answer with a chunk; `waited` [s] is the time before its inference began."""
    timing = {f'{stage}_ms': 1e3 * seconds for stage, seconds in chunk.latencies.items()}
    timing['infer_ms'] = timing.get('total_ms', 0.0)
    return {
        'actions': np.asarray(chunk.actions, np.float64),
        'server_timing': {**timing, 'wait_ms': 1e3 * waited},
        'sequence': request.sequence,
    }


def read_actions(message: Mapping[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Return the (K, A) float64 actions of an answer.

    Raises:
        MessageError: missing, of another shape, or not finite.
    """
    actions = message.get('actions')
    if not isinstance(actions, np.ndarray) or actions.dtype.kind != 'f':
        raise MessageError('actions: expected an array of numbers')
    if actions.shape != shape:
        raise MessageError(f'actions: got shape {actions.shape}, the server said {shape}')
    if not np.isfinite(actions).all():
        raise MessageError('actions: not all are finite')
    return actions.astype(np.float64)


def read_timing(message: Mapping[str, Any]) -> dict[str, float]:
    """Return the server's stages [s]: `preprocess`, `model`, `wait` and so on."""
    timing = message.get('server_timing')
    if not isinstance(timing, Mapping):
        return {}
    return {
        str(name).removesuffix('_ms'): float(value) / 1e3
        for name, value in timing.items()
        if isinstance(value, (int, float)) and 0 <= value < 1e7
    }
