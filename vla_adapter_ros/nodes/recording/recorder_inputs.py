# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Why an episode must not be recorded: inputs that the policy node would refuse.

The verdicts and sentences are those of preflight (preflight/input_checks.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from importlib import import_module

from rclpy.serialization import deserialize_message

from vla_adapter_ros.data.bags.file import header_stamp
from vla_adapter_ros.data.bags.recorder import RecordedTopic
from vla_adapter_ros.data.bags.topics import JOINTS
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.preflight.input_checks import (
    TopicRecord,
    camera_problem,
    read_joint_states,
)
from vla_adapter_ros.robot.contract import RobotContract

_NANOSECONDS = 1e9
# Messages whose age is averaged, and joint states that are looked at: a gripper may be published
# much more slowly than an arm.
_AGES = 32
_JOINT_STATES = 512


def message_type(kind: str) -> type:
    """Return the class of `package/msg/Name`."""
    package, _, name = kind.partition('/msg/')
    return getattr(import_module(f'{package}.msg'), name)


class RecorderInputs:
    """The newest messages of the topics that an episode needs.

    Args:
        contract: what they must be like.
        topics: those that are recorded, by the names in the graph.
        publishers: topic → names of the nodes that publish it.
    """

    def __init__(
        self,
        contract: RobotContract,
        topics: list[RecordedTopic],
        publishers: Callable[[str], list[str]],
    ) -> None:
        self._contract = contract
        self._topics = [topic for topic in topics if topic.required]
        self._publishers = publishers
        # By topic: (arrival, age) [ns] and the bytes of messages.
        self._ages: dict[str, deque[int]] = {t.name: deque(maxlen=_AGES) for t in self._topics}
        self._messages: dict[str, deque[tuple[int, bytes]]] = {
            topic.name: deque(maxlen=_JOINT_STATES if topic.role == JOINTS else 1)
            for topic in self._topics
        }

    def receive(self, topic: str, now: int, data: bytes) -> None:
        """Take a message of a required topic, received at `now` [ns]; costs microseconds."""
        try:
            stamp = header_stamp(data)
        except DatasetError:
            return
        self._ages[topic].append(now - stamp if stamp else 0)
        self._messages[topic].append((now, data))

    def problem(self, now: int, fresh_within: float) -> str:
        """Return why an episode must not begin at `now` [ns], or ''.

        Args:
            now: the node's clock [ns].
            fresh_within: every topic must have been heard within this time [s].
        """
        silent = [
            topic.name
            for topic in self._topics
            if not (heard := self._messages[topic.name])
            or (now - heard[-1][0]) / _NANOSECONDS > fresh_within
        ]
        if silent:
            return f'no messages on {", ".join(silent)} in the last {fresh_within:g} s'
        return next(filter(None, map(self._topic_problem, self._topics)), '')

    def _topic_problem(self, topic: RecordedTopic) -> str:
        kind = message_type(topic.kind)
        record = TopicRecord(
            topic.name, self._publishers(topic.name),
            ages=[age / _NANOSECONDS for age in self._ages[topic.name]],
        )  # fmt: skip
        messages = [
            (arrival / _NANOSECONDS, deserialize_message(data, kind))
            for arrival, data in self._messages[topic.name]
        ]
        if topic.role == JOINTS:
            fault = read_joint_states(record, messages, self._contract)[1]
            return f'{topic.name}: {fault}' if fault else ''
        record.last = messages[-1][1]
        return camera_problem(record, self._contract.cameras[topic.role])
