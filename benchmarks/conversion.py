# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Speed and size of converting a recording to each kind of dataset. Without ROS.

    python -m benchmarks.conversion --seconds 10

Records two 640×480 cameras at 30 Hz and joint states at 100 Hz through the recorder's core, as
fast as it goes, then converts the raw bag in one process.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import moving_images
from vla_adapter_ros.data.bags.conversion import convert_bags
from vla_adapter_ros.data.bags.file import message_types
from vla_adapter_ros.data.bags.recorder import EpisodeRecorder, RecordedTopic
from vla_adapter_ros.robot.contract import RobotContract, resolve_contract

CAMERA_RATE, JOINT_RATE = 30, 100  # [Hz]
IMAGE, STATE = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/JointState'
START = 1_700_000_000_000_000_000  # [ns]
WAITING_BYTES = 64_000_000


@dataclass(frozen=True)
class ConversionFigures:
    """Cost of one kind of dataset.

    Attributes:
        name: the kind.
        speed: in multiples of real time.
        per_core: the same, of the processor time; other programs disturb it less.
        bytes_per_hour: size.
    """

    name: str
    speed: float
    per_core: float
    bytes_per_hour: float


def record(folder: Path, seconds: float) -> tuple[Path, float]:
    """Record an episode as fast as it goes; return the bag and its bytes per hour."""
    robot = resolve_contract('alicia_d')
    topics = [RecordedTopic(c, f'/{c}/image', IMAGE, required=True) for c in robot.cameras]
    topics.append(RecordedTopic('joint_states', '/joint_states', STATE, required=True))
    recorder = EpisodeRecorder(folder, 'raw', topics, robot, 'benchmark')
    for at, topic, data in _messages(robot, seconds):
        while recorder.waiting > WAITING_BYTES:
            time.sleep(0.001)
        recorder.write(topic, START + round(at * 1e9), data)
    report = recorder.finish()
    return report.path, report.size / seconds * 3600


def _messages(robot: RobotContract, seconds: float) -> list[tuple[float, str, bytes]]:
    store = message_types()
    types = store.types
    views = {c: moving_images(30, s.height, s.width) for c, s in robot.cameras.items()}
    found = []

    def header(at: float) -> object:
        ns = START + round(at * 1e9)
        stamp = types['builtin_interfaces/msg/Time'](sec=ns // 10**9, nanosec=ns % 10**9)
        return types['std_msgs/msg/Header'](stamp=stamp, frame_id='')

    for index in range(round(seconds * CAMERA_RATE)):
        at = index / CAMERA_RATE
        for camera, frames in views.items():
            image = frames[index % len(frames)]
            height, width, _ = image.shape
            message = types[IMAGE](
                header=header(at), height=height, width=width, encoding='rgb8',
                is_bigendian=0, step=3 * width, data=image.ravel(),
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
    """Convert a bag to several kinds of dataset."""
    found = []
    for name, storage, size in (
        ('video 640x480', 'video', None), ('video 224x224', 'video', 224),
        ('image 224x224', 'image', 224),
    ):  # fmt: skip
        output = folder / name.replace(' ', '_')
        begin = time.process_time()
        result = convert_bags([bag], output, storage=storage, image_size=size)
        busy = time.process_time() - begin
        total = sum(file.stat().st_size for file in output.rglob('*') if file.is_file())
        recorded = result.reports[0]['duration']
        found.append(
            ConversionFigures(
                name, recorded / result.seconds, recorded / busy, total / seconds * 3600
            )
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.conversion',
        description='Measure speed and size of converting a raw recording of two 640x480 cameras '
        'at 30 Hz, in one process.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--seconds', type=float, default=10.0, help='length of the recording')
    parser.add_argument('--output', type=Path, help='write the figures as JSON')
    parser.add_argument('--folder', help='where to put temporary files')
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        bag, size = record(Path(place) / 'bags', options.seconds)
        figures = conversion(bag, Path(place), options.seconds)
    print(f'raw bag: {size / 1e9:.1f} GB/hour')
    for item in figures:
        print(
            f'{item.name}: {item.speed:.1f} x real time, {item.per_core:.1f} of a core, '
            f'{item.bytes_per_hour / 1e9:.2f} GB/hour'
        )
    if options.output is not None:
        results = {'bag_bytes_per_hour': size, 'conversion': [asdict(f) for f in figures]}
        options.output.write_text(json.dumps(results, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
