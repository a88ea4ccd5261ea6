# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Cost of recording and converting: CPU share, size, speed. Without ROS."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_adapter_ros.data.bags.file import message_types
from vla_adapter_ros.data.bags.recorder import EpisodeRecorder, RecordedTopic
from vla_adapter_ros.data.convert import convert
from vla_adapter_ros.robot.contract import RobotContract, builtin_contract_path, load_contract

CAMERA_RATE, JOINT_RATE = 30, 100
IMAGE, STATE = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/JointState'
START = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class RecordingFigures:
    """What one form of recording costs.

    Attributes:
        name: `raw` or `jpeg`.
        cpu: share of one core while recording in real time.
        lost: messages lost.
        bytes_per_hour: of the bag.
    """

    name: str
    cpu: float
    lost: int
    bytes_per_hour: float


@dataclass(frozen=True)
class ConversionFigures:
    """What one form of data set costs: `speed` in times real time."""

    name: str
    speed: float
    bytes_per_hour: float


def moving_pictures(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return (N, H, W, 3) uint8: a textured scene that moves, with camera noise."""
    import cv2

    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 255, (height // 16, width // 8, 3), dtype=np.uint8)
    scene = cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_CUBIC)
    frames = np.empty((count, height, width, 3), np.uint8)
    for i in range(count):
        start = (4 * i) % width
        noise = generator.normal(0, 2, (height, width, 3))
        frames[i] = np.clip(scene[:, start : start + width] + noise, 0, 255)
    return frames


def benchmark_contract() -> RobotContract:
    """Return the Alicia-D's contract: two cameras of 640×480."""
    return load_contract(builtin_contract_path('alicia_d'))


def record(folder: Path, seconds: float, form: str, paced: bool) -> tuple[Path, RecordingFigures]:
    """Record two cameras and joint states as they would arrive.

    Args:
        folder: where the bag goes.
        seconds: length of the episode.
        form: `raw` or `jpeg`.
        paced: in real time, for the CPU share; else as fast as it goes.
    """
    robot = benchmark_contract()
    topics = [RecordedTopic(c, f'/{c}/image', IMAGE, required=True) for c in robot.cameras]
    topics.append(RecordedTopic('joint_states', '/joint_states', STATE, required=True))
    encode = [t.name for t in topics if t.kind == IMAGE] if form == 'jpeg' else []
    messages = _messages(robot, seconds)
    recorder = EpisodeRecorder(folder, form, topics, robot, 'benchmark', encode=encode)
    used, begin = _cpu(), time.monotonic()
    for at, topic, data in messages:
        if paced and (wait := begin + at - time.monotonic()) > 0:
            time.sleep(wait)
        recorder.write(topic, START + round(at * 1e9), data)
        if not paced:
            while recorder.waiting > 64_000_000:
                time.sleep(0.001)
    report = recorder.finish()
    share = (_cpu() - used) / (time.monotonic() - begin)
    lost = sum(topic.lost for topic in report.topics.values())
    figures = RecordingFigures(form, share, lost, report.size / seconds * 3600)
    return report.path, figures


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _messages(robot: RobotContract, seconds: float) -> list[tuple[float, str, bytes]]:
    store = message_types()
    types = store.types
    pictures = {c: moving_pictures(30, s.height, s.width) for c, s in robot.cameras.items()}
    found = []

    def header(at: float) -> object:
        ns = START + round(at * 1e9)
        stamp = types['builtin_interfaces/msg/Time'](sec=ns // 10**9, nanosec=ns % 10**9)
        return types['std_msgs/msg/Header'](stamp=stamp, frame_id='')

    for index in range(round(seconds * CAMERA_RATE)):
        at = index / CAMERA_RATE
        for camera, frames in pictures.items():
            picture = frames[index % len(frames)]
            height, width, _ = picture.shape
            message = types[IMAGE](
                header=header(at), height=height, width=width, encoding='rgb8',
                is_bigendian=0, step=3 * width, data=picture.ravel(),
            )  # fmt: skip
            data = bytes(store.serialize_cdr(message, IMAGE))
            found.append((at, f'/{camera}/image', data))
    for index in range(round(seconds * JOINT_RATE)):
        at = index / JOINT_RATE
        position = np.append(0.3 * np.sin(at + np.arange(6)), 0.01)
        message = types[STATE](
            header=header(at), name=list(robot.names), position=position,
            velocity=np.zeros(7), effort=np.zeros(0),
        )  # fmt: skip
        found.append((at, '/joint_states', bytes(store.serialize_cdr(message, STATE))))
    return sorted(found, key=lambda item: item[0])


def conversion(bag: Path, folder: Path, seconds: float) -> list[ConversionFigures]:
    """Convert a bag to several forms of data set."""
    found = []
    for name, storage, size in (
        ('video 640x480', 'video', None), ('video 224x224', 'video', 224),
        ('image 224x224', 'image', 224),
    ):  # fmt: skip
        output = folder / name.replace(' ', '_')
        result = convert([bag], output, storage=storage, image_size=size)
        total = sum(file.stat().st_size for file in output.rglob('*') if file.is_file())
        speed = result.reports[0]['duration'] / result.seconds
        found.append(ConversionFigures(name, speed, total / seconds * 3600))
    return found
