# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What other processes do in tests of the recorder and the dataset writer.

They are spawned, so what they run must be importable.
"""

from __future__ import annotations

import time

from support.bag_samples import joint_state, raw_image, serialise, text, time_of
from support.data_samples import contract, image, observations, targets
from vla_adapter_ros.data.bags.recorder import EpisodeRecorder, RecordedTopic
from vla_adapter_ros.data.lerobot.writer import DatasetWriter

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
