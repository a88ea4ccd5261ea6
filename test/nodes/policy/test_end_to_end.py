# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The whole system over real DDS: simulated arm, policy node and user in three processes."""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack, closing

import numpy as np
import pytest
import yaml
from visualization_msgs.msg import Marker

from support.graph_client import GraphClient
from support.ros_harness import NodeProcess, isolated_environment, wait_until
from support.viewer_fields import in_namespace, type_name
from vla_adapter_ros.nodes.common.dds_profile import shipped_config
from vla_adapter_ros.nodes.common.messages import EVERY, to_seconds
from vla_adapter_ros.robot.contract import resolve_contract

ROBOT = 'alicia_d_sim'
CONTRACT = resolve_contract(ROBOT)


class System:
    def __init__(self, policy, sim=None, fresh=False, **parameters):
        environment = isolated_environment()
        base = {'robot': ROBOT, 'camera_rate': 15.0}
        self.sim = NodeProcess('sim_arm_node', {**base, **(sim or {})}, environment)
        self.node = NodeProcess(
            'policy_node',
            {'robot': ROBOT, 'policy': policy, 'max_image_age': 1.0, 'max_skew': 0.5,
             'max_joint_state_age': 0.5, **parameters},
            environment, fresh=fresh,
        )  # fmt: skip
        self.client = GraphClient(environment)

    def start(self):
        wait_until(lambda: self.client.states, 60, 'joint states of sim_arm')
        assert self.client.configure() and self.client.activate()
        return self

    def close(self):
        self.client.close()
        self.node.stop()
        self.sim.stop()


@pytest.fixture
def system():
    with ExitStack() as stack:
        yield lambda *arguments, **parameters: stack.enter_context(
            closing(System(*arguments, **parameters))
        ).start()


def assert_is_a_valid_trajectory(message):
    times = [to_seconds(point.time_from_start) for point in message.points]
    assert times[0] > 0.0
    assert all(a < b for a, b in itertools.pairwise(times))
    positions = np.array([point.positions for point in message.points])
    velocities = np.array([point.velocities for point in message.points])
    assert positions.shape == velocities.shape == (len(times), 6)
    assert list(message.joint_names) == list(CONTRACT.joint_names)
    assert (positions >= CONTRACT.lower[:6] - 1e-9).all()
    assert (positions <= CONTRACT.upper[:6] + 1e-9).all()
    assert (np.abs(velocities) <= CONTRACT.max_velocity[:6]).all()
    assert not velocities[-1].any()


def test_model_moves_the_arm_when_told_and_enabled(system):
    client = system('random_network').client
    client.wait_for_state('READY')
    assert client.set_instruction('Reach the red block').success
    time.sleep(1.0)
    assert client.arm == [], 'nothing is commanded before motion is enabled'
    start = client.positions()[-1]
    assert client.enable().success
    trajectories = client.wait_for_trajectories(3)
    for message in trajectories:
        assert_is_a_valid_trajectory(message)
    wait_until(lambda: np.abs(client.positions()[-1] - start).max() > 0.02, 20, 'motion')
    chunk = client.chunks[-1]
    assert (chunk.chunk_size, chunk.action_dim) == (8, 7)
    assert len(chunk.actions) == 56
    assert chunk.instruction == 'reach the red block'
    assert chunk.step_period == CONTRACT.step_period
    assert {'preprocess', 'model', 'total'} <= set(chunk.latency_names)
    assert client.instructions[-1] == 'reach the red block'


def test_status_and_diagnostics_say_what_happens(system):
    client = system('hold', enable=True, instruction='wait').client
    client.wait_for_state('RUNNING')
    wait_until(lambda: client.status.chunks_total >= 2, 20, 'two chunks')
    status = client.wait_for_state('RUNNING')
    assert status.reason == '' and status.enabled
    assert status.instruction == 'wait'
    assert list(status.input_names) == ['joint states', 'third_person image', 'wrist image']
    wait_until(lambda: min(client.status.input_rates) > 1.0, 10, 'input rates')
    wait_until(lambda: client.diagnostics, 5, 'diagnostics')
    names = {entry.name for entry in client.diagnostics[-1].status}
    assert names == {
        'vla_adapter: policy', 'vla_adapter: joint states', 'vla_adapter: third_person image',
        'vla_adapter: wrist image',
    }  # fmt: skip


def test_expert_does_what_it_is_told(system):
    rig = system('expert', sim={'task': 'reach', 'seed': 3}, enable=True)
    rig.client.wait_for_reason('no instruction yet')
    # The instruction comes from the scene: what is on the table is random.
    line = next(line for line in rig.sim.log.splitlines() if 'on the table:' in line)
    target = line.partition('on the table: ')[2].split(', ')[0]
    assert rig.client.set_instruction(f'reach the {target}').success
    rig.sim.wait_for_log(f'done: reach the {target}', 30.0)
    wait_until(
        lambda: rig.client.status.executing_instruction in ('', f'reach the {target}'), 5, 'status'
    )


def test_path_of_the_tool_is_shown_to_those_who_look(system):
    client = system('random', enable=True, instruction='reach the red block').client
    markers = []
    client.node.create_subscription(Marker, 'vla_adapter/plan_path', markers.append, EVERY)
    path = wait_until(lambda: markers and markers[-1], 20, 'a marker')
    assert path.type == Marker.LINE_STRIP and path.header.frame_id == 'base_link'
    points = np.array([(p.x, p.y, p.z) for p in path.points])
    assert len(points) > 10
    # The ready pose has the tool about 0.27 m in front of the base: the path is around there.
    assert np.linalg.norm(points - [0.25, 0.0, 0.15], axis=1).max() < 0.6
    found = dict(client.node.get_topic_names_and_types())
    assert_rviz_finds_its_topics(found)
    for topic, kind in in_namespace('').items():
        assert found[topic] == [type_name(kind)], 'what Foxglove, PlotJuggler and rerun show'


def assert_rviz_finds_its_topics(found):
    kinds = {'Image': 'sensor_msgs/msg/Image', 'Marker': 'visualization_msgs/msg/Marker',
             'MarkerArray': 'visualization_msgs/msg/MarkerArray'}  # fmt: skip
    settings = yaml.safe_load(shipped_config('viewers/vla_adapter.rviz').read_text())
    displays = [d for d in settings['Visualization Manager']['Displays'] if 'Topic' in d]
    assert len(displays) == 4
    for display in displays:
        kind = kinds[display['Class'].rpartition('/')[2]]
        assert found[f'/{display["Topic"]["Value"]}'] == [kind]


def test_stop_holds_and_needs_a_new_enable(system):
    client = system('random', enable=True, instruction='reach the red block').client
    client.wait_for_trajectories(2)
    assert client.trigger('stop').success
    status = client.wait_for_state('READY')
    assert not status.enabled
    time.sleep(0.8)
    commands, rest = len(client.arm), client.positions()[-1]
    time.sleep(0.7)
    assert len(client.arm) == commands
    assert np.abs(client.positions()[-1] - rest).max() < 5e-3
    assert client.enable().success
    client.wait_for_trajectories(1)


def test_interrupt_holds_the_arm_and_ends_cleanly(system):
    rig = system('random', fresh=True, enable=True, instruction='reach the red block')
    rig.client.wait_for_trajectories(2)
    rig.node.interrupt()
    assert rig.node.process.wait(20) == 0
    time.sleep(0.8)
    rest = rig.client.positions()[-1]
    time.sleep(0.5)
    assert np.abs(rig.client.positions()[-1] - rest).max() < 5e-3


def test_deactivation_and_cleanup_leave_a_node_that_starts_again(system):
    client = system('hold', enable=True, instruction='wait').client
    client.wait_for_trajectories(1)
    assert client.deactivate()
    client.wait_for_state('INACTIVE')
    assert client.activate()
    client.wait_for_trajectories(1)


def test_simulated_time_drives_the_whole_system(system):
    client = system(
        'hold', sim={'publish_clock': True}, use_sim_time=True, enable=True, instruction='wait'
    ).client
    client.wait_for_state('RUNNING')
    client.wait_for_trajectories(1)
    stamp = wait_until(lambda: client.chunks, 20, 'a chunk')[-1].observation_stamp
    assert stamp.sec < 3600, 'stamps are simulation time, not the system clock'
