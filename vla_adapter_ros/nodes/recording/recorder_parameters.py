# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The parameters of the recorder node and the topics they mean."""

from __future__ import annotations

from dataclasses import dataclass

from vla_adapter_ros.data.bags.recorder import RecordedTopic
from vla_adapter_ros.nodes.common.messages import image_input
from vla_adapter_ros.nodes.common.parameters import parameter
from vla_adapter_ros.robot.contract import RobotContract

IMAGE_FORMS = ('raw', 'compressed', 'jpeg')
IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
CHUNK = 'vla_adapter_ros/msg/ActionChunk'
# May be set between two episodes; the others decide what is subscribed.
LIVE_PARAMETERS = ('folder', 'instruction', 'operator', 'max_duration', 'fresh_within')


@dataclass(frozen=True)
class RecorderParameters:
    """Parameters of `recorder`; LIVE_PARAMETERS take effect at the next episode."""

    robot: str = parameter(
        'alicia_d', 'Robot contract: the name of one that ships, or the path of a YAML file.'
    )
    folder: str = parameter('recordings', 'Where finished episodes lie, one bag each.')
    images: str = parameter(
        'raw',
        'raw: <camera>/image as it comes; jpeg: the same, compressed here (an eighth of the '
        'size); compressed: <camera>/image/compressed as it comes.',
        choices=IMAGE_FORMS,
    )
    instruction: str = parameter(
        '', 'What is done in the next episodes; empty: as published on instruction_topic.'
    )
    instruction_topic: str = parameter(
        'vla_adapter/instruction',
        'Latched text: the instruction in force; empty: only the parameter instruction counts.',
        ros_name=True,
    )
    action_chunk_topic: str = parameter(
        'vla_adapter/action_chunk', 'Raw chunks of the policy, recorded too; empty: not recorded.',
        ros_name=True,
    )
    camera_info: bool = parameter(False, 'Record <camera>/camera_info too.')
    operator: str = parameter('', 'Who records; kept with every episode.')
    max_duration: float = parameter(
        300.0, 'An episode is ended after this long [s]; 0: never.', low=0.0, high=86400.0
    )
    fresh_within: float = parameter(
        1.0, 'start is refused if a required topic was silent for this long [s].',
        low=0.05, high=60.0,
    )  # fmt: skip
    diagnostics_period: float = parameter(1.0, 'Of /diagnostics [s].', low=0.1, high=60.0)


def recorded_topics(
    parameters: RecorderParameters, contract: RobotContract, chunk_definition: str | None
) -> list[RecordedTopic]:
    """Return the recorded topics, names as the node sees them (relative ones are resolved there).

    Args:
        parameters: of the node.
        contract: names the cameras and the command topics.
        chunk_definition: text of ActionChunk.msg; None: chunks are not recorded.
    """
    transport = 'compressed' if parameters.images == 'compressed' else 'raw'
    kind = COMPRESSED if transport == 'compressed' else IMAGE
    front_end = contract.front_end
    streamed = front_end.kind == 'joint_commands'
    commands = 'sensor_msgs/msg/JointState' if streamed else 'trajectory_msgs/msg/JointTrajectory'
    topics = [
        RecordedTopic(camera, image_input(camera, transport)[1], kind, required=True)
        for camera in contract.cameras
    ]
    topics += [
        RecordedTopic(
            'joint_states', 'joint_states', 'sensor_msgs/msg/JointState', required=True
        ),
        RecordedTopic('arm', front_end.arm_topic, commands),
    ]
    if topic := front_end.recorded_gripper_topic:
        topics.append(RecordedTopic('gripper', topic, commands))
    if name := parameters.instruction_topic:
        topics.append(RecordedTopic('instruction', name, 'std_msgs/msg/String', latched=True))
    if parameters.camera_info:
        topics += [
            RecordedTopic(f'{camera} camera_info', f'{camera}/camera_info', CAMERA_INFO)
            for camera in contract.cameras
        ]
    if parameters.action_chunk_topic and chunk_definition is not None:
        topics.append(
            RecordedTopic('action_chunk', parameters.action_chunk_topic, CHUNK, chunk_definition)
        )
    return topics
