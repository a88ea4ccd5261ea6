# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The recorder node on the real ROS graph: services, refusals, kill −9, what is in the bags."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest
import yaml

from support.data_samples import contract, image
from support.ros_harness import NodeProcess, isolated_environment, wait_until
from vla_adapter_ros.control.observation_inputs import InputSettings
from vla_adapter_ros.data.bags.contents import BagOptions
from vla_adapter_ros.data.bags.episode import BagEpisode
from vla_adapter_ros.data.bags.file import BagFile

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from std_msgs.msg import String

from support.recorded_robot import RecordedRobot, start_recording

# The test's own cameras may stand still for a while on a busy machine.
PATIENT = BagOptions(limits=InputSettings(9.0, 9.0, 9.0))


@pytest.fixture
def graph(tmp_path):
    environment = isolated_environment()
    robot_file = tmp_path / 'robot.yaml'
    robot_file.write_text(yaml.safe_dump(contract().to_dict()))
    started = []

    def start(**parameters):
        given = {'robot': str(robot_file), 'folder': str(tmp_path / 'bags')} | parameters
        process = NodeProcess('recorder_node', given, environment)
        started.append(process)
        return process

    robot = RecordedRobot(environment)
    yield robot, start, tmp_path / 'bags'
    robot.close()
    for process in started:
        process.stop()


def test_episodes_are_recorded_kept_and_discarded(graph):
    robot, start, folder = graph
    robot.text.publish(String(data='stack the cups'))
    node = start(operator='ada', camera_info=True)
    assert start_recording(robot).message == 'recording episode_000000: stack the cups'
    assert 'being recorded already' in robot.ask('start').message
    robot.frames_later(20)
    robot.command()
    robot.frames_later(25)
    answer = robot.ask('stop')
    assert answer.success
    assert '/third_person/image: ' in answer.message
    episode = BagEpisode(folder / 'episode_000000', options=PATIENT)
    assert (episode.instruction, episode.action_source) == ('stack the cups', 'commands')
    assert len(episode) >= 12
    # The arm runs to 1 rad within a second of the command.
    assert episode.actions[0, 0] < 0.5 < episode.actions[-1, 0]
    with BagFile(folder / 'episode_000000') as bag:
        assert bag.custom['operator'] == 'ada'
        assert bag.types['/wrist/image'] == 'sensor_msgs/msg/Image'
        assert len(list(bag.messages('/wrist/image'))) >= 40
        assert bag.types['/wrist/camera_info'] == 'sensor_msgs/msg/CameraInfo'
        assert len(list(bag.messages('/wrist/camera_info'))) >= 40
    robot.ask('start')
    robot.frames_later(5)
    assert robot.ask('discard').message == 'episode_000001 was not kept'
    assert robot.ask('discard').message == 'episode_000000 was removed'
    assert 'nothing to discard' in robot.ask('discard').message
    assert 'no episode is being recorded' in robot.ask('stop').message
    for service, mark in (('stop_success', True), ('stop_failure', False)):
        robot.ask('start')
        robot.frames_later(5)
        name = robot.ask(service).message.split(':')[0]
        with BagFile(folder / name) as bag:
            assert bag.success is mark
        assert robot.ask('discard').message == f'{name} was removed'
    robot.ask('start')
    robot.frames_later(5)
    name = robot.ask('stop').message.split(':')[0]
    with BagFile(folder / name) as bag:
        assert bag.success is None
    robot.ask('discard')
    assert list(folder.iterdir()) == []
    # Ctrl-C keeps what is being recorded.
    robot.ask('start')
    robot.frames_later(30)
    node.interrupt()
    wait_until(lambda: not node.alive, 20.0, 'end of the recorder')
    assert len(BagEpisode(folder / 'episode_000000', options=PATIENT)) > 5


def test_start_is_refused_until_everything_is_there(graph):
    robot, start, folder = graph
    robot.running = False
    start(fresh_within=0.5)
    answer = robot.ask('start')
    assert not answer.success
    assert answer.message == (
        'no messages on /third_person/image, /wrist/image, /joint_states in the last 0.5 s'
    )
    robot.running = True
    wait_until(lambda: 'no instruction' in robot.ask('start').message, 20.0, 'refusal')
    assert not folder.exists()


def test_what_can_change_takes_effect_at_the_next_episode_and_the_rest_is_refused(graph):
    robot, start, folder = graph
    node = start(instruction='push', operator='ada')
    fixed = {'images': 'compressed', 'robot': 'alicia_d', 'instruction_topic': 'a'}
    for name, value in fixed.items():
        good, reason = robot.set_parameter('recorder', name, value)
        assert not good
        assert reason.startswith(f'{name} takes effect at the next start of the node; only folder')
    other = folder.parent / 'other'
    assert robot.set_parameter('recorder', 'folder', str(other))[0]
    assert not robot.set_parameter('recorder', 'operator', None)[0], 'deleted'
    start_recording(robot)
    robot.frames_later(5)
    assert robot.ask('stop').success
    assert [path.name for path in other.iterdir()] == ['episode_000000']
    assert not folder.exists()
    assert node.alive


def test_killed_recorder_loses_a_second_at_most(graph):
    robot, start, folder = graph
    node = start(instruction='push', images='jpeg')
    start_recording(robot)
    robot.frames_later(75)
    node.kill()
    assert not (folder / 'episode_000000').exists()
    node = start(instruction='push')
    node.wait_for_log('episode_000000 was cut off')
    episode = BagEpisode(folder / 'episode_000000', options=PATIENT)
    assert len(episode) >= 10
    assert episode.instruction == 'push'
    pixels = next(episode.images('wrist', [3]))
    known = [np.abs(pixels.astype(int) - image(1, f)).mean() for f in range(robot.frame)]
    assert min(known) < 2


def test_recording_need_not_wait_for_recovery(graph):
    robot, start, folder = graph
    place = folder / '.recording' / 'dead-1-abc'
    for number in range(2000):
        left = place / f'broken_{number:04d}'
        left.mkdir(parents=True)
        (left / 'part.mcap').write_text('nothing that can be read')
    (place / 'lock').write_text(json.dumps({'host': socket.gethostname()}))
    node = start(instruction='push')
    node.wait_for_log('broken_0000 was cut off')
    start_recording(robot)
    robot.frames_later(15)
    assert robot.ask('stop').success
    assert (folder / 'episode_000000').is_dir()
    assert any(place.glob('broken_*')), 'the recovery was over too soon to say anything'


def test_bad_parameters_end_the_node_with_a_reason(graph):
    _, start, _ = graph
    node = start(images='png')
    wait_until(lambda: not node.alive, 20.0, 'end of the recorder')
    assert "recorder: parameter images: got 'png', expected one of: raw" in node.log
    node = start(imges='jpeg')
    wait_until(lambda: not node.alive, 20.0, 'end of the recorder')
    assert "parameter 'imges' is unknown; did you mean 'images'?" in node.log
