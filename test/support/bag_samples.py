# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Real bags of a small robot: two cameras at 30 Hz, joints at 50 Hz, trajectories, instruction.

The last part is run by spawned processes, in tests of the recorder and the dataset writer.
"""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import simplejpeg
from rosbags.typesys import Stores, get_typestore

from support.data_samples import contract, image, observations, targets
from vla_adapter_ros.data.bags.recorder import EpisodeRecorder, RecordedTopic
from vla_adapter_ros.data.bags.writer import BagWriter
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.robot.contract import RobotContract

TYPES = get_typestore(Stores.ROS2_HUMBLE)
MESSAGE = TYPES.types
START = 1_700_000_000_000_000_000
CAMERAS = ('third_person', 'wrist')


def time_of(seconds: float) -> int:
    """A bag's time [ns], `seconds` after its start."""
    return START + round(seconds * 1e9)


def stamp(ns: int):
    return MESSAGE['builtin_interfaces/msg/Time'](sec=ns // 10**9, nanosec=ns % 10**9)


def header(ns: int, frame_id: str = ''):
    return MESSAGE['std_msgs/msg/Header'](stamp=stamp(ns), frame_id=frame_id)


def serialise(message) -> bytes:
    return bytes(TYPES.serialize_cdr(message, message.__msgtype__))


def raw_image(pixels: np.ndarray, ns: int, encoding: str = 'rgb8'):
    height, width, channels = pixels.shape
    data = pixels if encoding == 'rgb8' else pixels[..., ::-1]
    return MESSAGE['sensor_msgs/msg/Image'](
        header=header(ns), height=height, width=width, encoding=encoding, is_bigendian=0,
        step=width * channels, data=np.ascontiguousarray(data).ravel(),
    )  # fmt: skip


def jpeg_image(pixels: np.ndarray, ns: int):
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=95)
    return MESSAGE['sensor_msgs/msg/CompressedImage'](
        header=header(ns), format='rgb8; jpeg compressed rgb8',
        data=np.frombuffer(data, np.uint8),
    )  # fmt: skip


def joint_state(names, positions, ns: int):
    empty = np.zeros(0)
    return MESSAGE['sensor_msgs/msg/JointState'](
        header=header(ns), name=list(names), position=np.asarray(positions, float),
        velocity=empty, effort=empty,
    )  # fmt: skip


def trajectory(names, times, positions, velocities=None, ns: int = 0):
    points = []
    for i, moment in enumerate(times):
        seconds = int(moment)
        points.append(
            MESSAGE['trajectory_msgs/msg/JointTrajectoryPoint'](
                positions=np.asarray(positions[i], float),
                velocities=np.zeros(0) if velocities is None else np.asarray(velocities[i], float),
                accelerations=np.zeros(0),
                effort=np.zeros(0),
                time_from_start=MESSAGE['builtin_interfaces/msg/Duration'](
                    sec=seconds, nanosec=round((moment - seconds) * 1e9)
                ),
            )
        )
    return MESSAGE['trajectory_msgs/msg/JointTrajectory'](
        header=header(ns), joint_names=list(names), points=points
    )


def text(value: str):
    return MESSAGE['std_msgs/msg/String'](data=value)


def joints_at(seconds: float) -> np.ndarray:
    """(7,) the measured state: each joint moves at its own constant speed; gripper fraction."""
    # Never all zero, which is what a driver without data publishes.
    return np.append(0.02 + 0.05 * np.arange(1, 7) * seconds, 0.5)


def commanded_at(seconds: float) -> np.ndarray:
    """(6,) the commanded arm positions: ahead of the measured ones."""
    return joints_at(seconds)[:6] + 0.25


@dataclass(frozen=True)
class BagSpec:
    """What a sample bag holds; times in seconds after its start."""

    duration: float = 3.0
    contract: RobotContract | None = field(default_factory=contract)
    instruction: str | None = 'pick up the cube'
    custom_instruction: str = ''
    later_instructions: dict[float, str] = field(default_factory=dict)
    # Nothing is recorded in between, as when a recorder is paused.
    pause: tuple[float, float] = (0.0, 0.0)
    success: bool | None = None
    compressed: bool = False
    commands: bool = True
    gripper: bool = True
    wrist_gap: tuple[float, float] = (0.0, 0.0)
    wrist_size: dict[float, tuple[int, int]] = field(default_factory=dict)
    stamp_offset: float = 0.0
    nan_at: float = -1.0
    offset: float = 0.0
    split: bool = False
    camera_rate: float = 30.0
    camera_offset: float = 0.0
    # Of the trajectories' stamps from their arrival; None: not stamped.
    command_offset: float | None = None

    def but(self, **changes) -> BagSpec:
        return replace(self, **changes)


def write_bag(path: Path, spec: BagSpec | None = None, size: tuple[int, int] = (64, 48)) -> Path:
    """Write a bag and return its folder."""
    spec = spec or BagSpec()
    messages: list[tuple[float, str, object]] = []
    for index in range(int(spec.duration * spec.camera_rate)):
        seconds = index / spec.camera_rate
        for shift, camera in enumerate(CAMERAS):
            if camera == 'wrist' and spec.wrist_gap[0] <= seconds < spec.wrist_gap[1]:
                continue
            messages.append(_view(spec, size, camera, shift, index, seconds + 0.002 * shift))
    for index in range(int(spec.duration * 50)):
        messages += _joints(spec, index / 50)
    if spec.commands:
        messages += _commands(spec)
    if spec.instruction is not None:
        messages.append((0.0, '/vla_adapter/instruction', text(spec.instruction)))
    for seconds, value in spec.later_instructions.items():
        messages.append((seconds, '/vla_adapter/instruction', text(value)))
    messages = [m for m in messages if not spec.pause[0] <= m[0] < spec.pause[1]]
    custom = {'instruction': spec.custom_instruction} if spec.custom_instruction else {}
    if spec.success is not None:
        custom['success'] = json.dumps(spec.success)
    if spec.contract is not None:
        custom['contract'] = json.dumps(spec.contract.to_dict())
    writer = BagWriter(path, custom)
    for number, (seconds, topic, message) in enumerate(sorted(messages, key=lambda m: m[0])):
        writer.add_topic(topic, message.__msgtype__, latched=topic.endswith('instruction'))
        # No two recordings end in the same microsecond.
        last = number + 1 == len(messages)
        moment = zlib.crc32(str(path).encode()) % 1_000_000 if last else 0
        writer.write(topic, time_of(seconds + 0.001) + moment, serialise(message))
    writer.close()
    return path


def _view(spec, size, camera, shift, index, seconds):
    at = time_of(seconds + spec.stamp_offset + spec.camera_offset)
    if camera == 'wrist':
        for start, other in spec.wrist_size.items():
            size = other if seconds >= start else size
    pixels = image(shift, index, *size)
    if spec.compressed:
        return seconds, f'/{camera}/image/compressed', jpeg_image(pixels, at)
    return seconds, f'/{camera}/image', raw_image(pixels, at)


def _joints(spec, seconds):
    robot = spec.contract or contract()
    state = joints_at(seconds)
    if spec.nan_at >= 0 and seconds >= spec.nan_at:
        state[2] = np.nan
    # Driver unit of the gripper, and an order of its own.
    positions = np.append(robot.gripper.to_position(state[6]), state[:6][::-1])
    names = robot.driver_names[-1:] + robot.driver_joint_names[::-1]
    parts = [slice(0, 1), slice(1, None)] if spec.split else [slice(None)]
    at = time_of(seconds + spec.stamp_offset)
    return [
        (seconds, '/joint_states', joint_state(names[part], positions[part], at))
        for part in parts
    ]


def _commands(spec):
    robot = spec.contract or contract()
    front_end = robot.front_end
    found = []
    # As the policy node: a trajectory every 0.4 s, 0.8 s long, each replaced by the next.
    for start in np.arange(0.2, spec.duration, 0.4):
        times = 0.1 * np.arange(1, 9)
        positions = [commanded_at(start + after) + spec.offset for after in times]
        speeds = [0.05 * np.arange(1, 7)] * 8
        offset = spec.command_offset
        stamp = 0 if offset is None else time_of(start + offset)
        arm = trajectory(robot.driver_joint_names, times, positions, speeds, stamp)
        found.append((start, f'/{front_end.arm_topic}', arm))
    if spec.gripper:
        closing = trajectory(robot.driver_names[-1:], [0.5], [[front_end.gripper_closed_command]])
        found.append((1.0, f'/{front_end.gripper_topic}', closing))
    return found


IMAGE = 'sensor_msgs/msg/Image'
TOPICS = [
    RecordedTopic('third_person', '/cam/front', IMAGE, required=True),
    RecordedTopic('wrist', '/cam/hand', IMAGE, required=True),
    RecordedTopic('joint_states', '/joint_states', 'sensor_msgs/msg/JointState', required=True),
    RecordedTopic('arm', '/arm/trajectory', 'trajectory_msgs/msg/JointTrajectory'),
    RecordedTopic('instruction', '/task', 'std_msgs/msg/String', latched=True),
]


def feed(recorder, frames=30, start=0, hole=()):
    """Two cameras at 30 Hz and joints at 60 Hz."""
    if start == 0:
        recorder.write('/task', time_of(0), serialise(text('push the cube')))
    robot = contract()
    for frame in range(start, start + frames):
        at = frame / 30
        for shift, topic in enumerate(('/cam/front', '/cam/hand')):
            if topic == '/cam/hand' and frame in hole:
                continue
            data = serialise(raw_image(image(shift, frame), time_of(at)))
            recorder.write(topic, time_of(at), data)
        for half in (0, 1 / 60):
            state = serialise(joint_state(robot.names, [0.1] * 6 + [0.0], time_of(at + half)))
            recorder.write('/joint_states', time_of(at + half), state)


def record_forever(folder, ready):
    recorder = EpisodeRecorder(folder, 'a', TOPICS, contract(), 'push')
    frame = 0
    while True:
        feed(recorder, 6, start=frame)
        frame += 6
        time.sleep(0.05)
        if frame == 300:
            ready.set()


def write_episodes(path, worker, count):
    writer = DatasetWriter(path, contract(), image_size=32)
    for number in range(count):
        seed = worker * 10 + number
        writer.add_episode(observations(5, seed), targets(5, seed), key=f'seed_{seed:04d}')


def write_endlessly(path, started):
    writer = DatasetWriter(path, contract())
    writer.add_episode(observations(5), targets(5))

    def slow():
        for item in observations(1000):
            yield item
            started.set()
            time.sleep(0.01)

    writer.add_episode(slow(), targets(1000))
