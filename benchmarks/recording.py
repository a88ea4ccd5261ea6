# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""CPU load and lost messages of the recorder node, with real messages at full rate.

    python -m benchmarks.recording --seconds 20

Publishes two 640×480 cameras at 30 Hz and joint states at 100 Hz, has the recorder node record
them in a process of its own, and compares what was sent with what is in the bag.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from benchmarks.common import cpu_seconds, moving_images
from vla_adapter_ros.data.bags.file import BagFile, header_stamp
from vla_adapter_ros.nodes.common.dds_profile import use_shipped_profile
from vla_adapter_ros.robot.contract import resolve_contract

CAMERA_RATE, JOINT_RATE = 30.0, 100.0  # [Hz]
ROBOT = 'alicia_d'


class Source(Node):
    """Publishes cameras and joint states, and remembers the stamps of what it sent."""

    def __init__(self) -> None:
        super().__init__('benchmark_source')
        contract = resolve_contract(ROBOT)
        self.sent: dict[str, list[int]] = {'/joint_states': []}
        self._images = []
        for camera, spec in contract.cameras.items():
            message = Image(height=spec.height, width=spec.width, encoding='rgb8')
            message.step = 3 * spec.width
            message.data = array('B', moving_images(1, spec.height, spec.width).tobytes())
            publisher = self.create_publisher(Image, f'{camera}/image', 1)
            self._images.append((f'/{camera}/image', publisher, message))
            self.sent[f'/{camera}/image'] = []
        self._joints = self.create_publisher(JointState, 'joint_states', 10)
        self._state = JointState(name=list(contract.names), position=[0.1] * 7)
        self.create_timer(1 / CAMERA_RATE, self._send_images)
        self.create_timer(1 / JOINT_RATE, self._send_state)
        self.start = self.create_client(Trigger, 'recorder/start')
        self.stop = self.create_client(Trigger, 'recorder/stop')

    def _send(self, topic: str, publisher: Any, message: Any) -> None:
        now = self.get_clock().now()
        message.header.stamp = now.to_msg()
        publisher.publish(message)
        self.sent[topic].append(now.nanoseconds)

    def _send_images(self) -> None:
        for topic, publisher, message in self._images:
            self._send(topic, publisher, message)

    def _send_state(self) -> None:
        self._send('/joint_states', self._joints, self._state)


def measure(seconds: float, images: str, folder: Path) -> dict[str, Any]:
    """Record for some seconds and return CPU load, lost messages and size.

    Raises:
        RuntimeError: the recorder does not answer.
    """
    recorder = subprocess.Popen(
        [sys.executable, '-m', 'vla_adapter_ros.nodes.recording.recorder_node', '--ros-args',
         '-p', f'folder:={folder}', '-p', f'images:={images}', '-p', "instruction:='benchmark'",
         '-p', f'robot:={ROBOT}'],
    )  # fmt: skip
    rclpy.init()
    source = Source()
    executor = SingleThreadedExecutor()
    executor.add_node(source)

    def call(client: Any) -> Any:
        future = client.call_async(Trigger.Request())
        executor.spin_until_future_complete(future, 30.0)
        return future.result()

    def spin(duration: float) -> None:
        end = time.monotonic() + duration
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.05)

    try:
        end = time.monotonic() + 30.0
        while not (source.start.service_is_ready() and call(source.start).success):
            spin(0.2)
            if time.monotonic() > end or recorder.poll() is not None:
                raise RuntimeError('the recorder did not start')
        used, begin = cpu_seconds(recorder.pid), time.monotonic()
        spin(seconds)
        load = (cpu_seconds(recorder.pid) - used) / (time.monotonic() - begin)
        answer = call(source.stop)
    finally:
        recorder.terminate()
        recorder.wait(20)
        source.destroy_node()
        rclpy.try_shutdown()
    if not answer.success:
        raise RuntimeError(answer.message)
    bag = next(folder.glob('episode_*'))
    size = sum(file.stat().st_size for file in bag.iterdir())
    return {
        'images': images,
        'cpu_cores': round(load, 3),
        'sent_and_lost': _compare(bag, source.sent),
        'bytes_per_hour': round(size / seconds * 3600),
    }


def _compare(bag: Path, sent: dict[str, list[int]]) -> dict[str, tuple[int, int]]:
    """Return topic → (messages sent while it was recorded, how many are not in the bag)."""
    found = {}
    with BagFile(bag) as opened:
        for topic in opened.types:
            name = topic.removesuffix('/compressed')
            if name not in sent:
                continue
            stamps = [header_stamp(message.data) for message in opened.messages(topic)]
            meant = [stamp for stamp in sent[name] if stamps[0] <= stamp <= stamps[-1]]
            found[name] = (len(meant), len(meant) - len(stamps))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.recording',
        description='Measure CPU load and lost messages of the recorder node at two 640x480 '
        'cameras with 30 Hz and joint states with 100 Hz.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--seconds', type=float, default=20.0, help='length of the recording')
    parser.add_argument('--images', default='raw', choices=['raw', 'jpeg'], help='storage')
    parser.add_argument('--folder', help='where to put the temporary bag')
    options = parser.parse_args(arguments)
    os.environ.setdefault('ROS_DOMAIN_ID', str(random.SystemRandom().randint(1, 101)))
    use_shipped_profile(sim=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        print(json.dumps(measure(options.seconds, options.images, Path(place)), indent=2))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
