# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Which topic of a bag has which role: cameras, joint states, commands, instruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.robot.contract import RobotContract

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
JOINT_STATE = 'sensor_msgs/msg/JointState'
TRAJECTORY = 'trajectory_msgs/msg/JointTrajectory'
TEXT = 'std_msgs/msg/String'
JOINTS, ARM, GRIPPER, TASK = 'joint_states', 'arm', 'gripper', 'instruction'


@dataclass(frozen=True)
class BagTopics:
    """Topics of one bag; commands and instruction are None where there are none."""

    cameras: dict[str, str]
    joint_states: str
    arm: str | None
    gripper: str | None
    instruction: str | None


def topic_roles(contract: RobotContract) -> tuple[str, ...]:
    """Return the roles of the topics that an episode is made of; a bag may have more."""
    return (*contract.cameras, JOINTS, ARM, GRIPPER, TASK)


def choose_topics(
    types: Mapping[str, str],
    contract: RobotContract,
    named: Mapping[str, str],
    place: str,
) -> BagTopics:
    """Find the topics of a bag.

    Args:
        types: topic → message type, of the bag.
        contract: names cameras and command topics.
        named: role → topic, from the recorder or the user: camera names, `joint_states`, `arm`,
            `gripper`, `instruction`.
        place: the bag, for messages.

    Raises:
        DatasetError: a topic is missing or several would do; the message lists the bag's topics.
    """
    roles = topic_roles(contract)
    for role, topic in named.items():
        if role not in roles:
            raise DatasetError(f'topic {role}={topic}: expected one of the names {list(roles)}')
    choice = _Choice(types, named, place)
    commands = contract.front_end
    command_type = TRAJECTORY if commands.kind == 'joint_trajectory' else JOINT_STATE
    return BagTopics(
        cameras={
            camera: choice.needed(camera, IMAGE_TYPES, f'{camera}/image')
            for camera in contract.cameras
        },
        joint_states=choice.needed(JOINTS, (JOINT_STATE,), 'joint_states'),
        arm=choice.optional(ARM, (command_type,), commands.arm_topic),
        gripper=choice.optional(GRIPPER, (command_type,), commands.recorded_gripper_topic),
        instruction=choice.optional(TASK, (TEXT,), 'instruction'),
    )


class _Choice:
    def __init__(self, types: Mapping[str, str], named: Mapping[str, str], place: str) -> None:
        self._types, self._named, self._place = types, named, place

    def needed(self, role: str, kinds: tuple[str, ...], end: str) -> str:
        topic = self.optional(role, kinds, end)
        if topic is None:
            have = ', '.join(f'{t} ({k})' for t, k in sorted(self._types.items())) or 'nothing'
            raise DatasetError(
                f'bag {self._place}: no topic for {role} ({" or ".join(kinds)}, *{end}); '
                f'it has {have}; name one with --topic {role}=TOPIC'
            )
        return topic

    def optional(self, role: str, kinds: tuple[str, ...], end: str) -> str | None:
        if role in self._named:
            return self._checked(role, self._named[role], kinds)
        if not end:
            return None
        found = [
            topic
            for topic, kind in self._types.items()
            if kind in kinds and topic.removesuffix('/compressed').endswith('/' + end.lstrip('/'))
        ]
        if len(found) > 1:
            raise DatasetError(
                f'bag {self._place}: {role} could be {" or ".join(sorted(found))}; '
                f'name one with --topic {role}=TOPIC'
            )
        return found[0] if found else None

    def _checked(self, role: str, topic: str, kinds: tuple[str, ...]) -> str | None:
        kind = self._types.get(topic)
        if kind is None:
            # Our recorder names all its topics; those nobody published to are not in the bag.
            if role in (ARM, GRIPPER, TASK):
                return None
            have = ', '.join(sorted(self._types)) or 'nothing'
            raise DatasetError(
                f'bag {self._place}: no messages on {topic} ({role}); it has {have}'
            )
        if kind not in kinds:
            raise DatasetError(
                f'bag {self._place}: {topic} ({role}) is {kind}, expected {" or ".join(kinds)}'
            )
        return topic
