# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Episodes through the nodes are those of the process, however slow the machine is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')

from trajectory_msgs.msg import JointTrajectory
from vla_adapter_ros.msg import ActionChunk

from support.ros_harness import isolated_environment
from vla_adapter_ros.evaluation import simulate
from vla_adapter_ros.evaluation.rollout import EpisodeJob, Referee
from vla_adapter_ros.nodes.common.messages import COMMAND, EVERY, to_seconds, trajectory_message
from vla_adapter_ros.nodes.simulation.evaluation_rig import EvaluationRig
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.tasks import TaskOptions

TEST = Path(__file__).parents[2]


@pytest.fixture
def make_rig(monkeypatch, tmp_path):
    """Return a function: policy → rig in simulated time, to be entered."""
    for name, value in isolated_environment().items():
        monkeypatch.setenv(name, value)
    folders = [str(TEST), os.environ.get('PYTHONPATH', '')]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(folders))
    monkeypatch.setenv('FAULT_FILE', str(tmp_path / 'fault'))

    def make(policy, *options):
        words = ['zero', '--ros', '--ros-sim-time', '2', *options]
        settings = simulate.settings_from(simulate.make_parser().parse_args(words), 'zero')
        return EvaluationRig(settings, {'policy': policy})

    return make


def test_a_command_that_is_still_under_way_moves_no_arm_in_the_next_episode(make_rig):
    with make_rig('hold') as rig:
        node, contract = rig._client, rig._sim.contract
        late = node.create_publisher(JointTrajectory, contract.front_end.arm_topic, COMMAND)
        rig.wait_for(1.0)
        away = np.full((1, 6), 0.4)
        names = contract.driver_joint_names
        late.publish(trajectory_message(names, [0.3], away, np.zeros((1, 6))))
        time.sleep(0.1)  # it has arrived, and waits to be taken
        node.destroy_publisher(late)  # the policy refuses an arm that others command
        poses = []
        for _ in range(2):
            rig.run(
                EpisodeJob('reach', 0), lambda: poses.append(rig._sim.simulation.proprioception)
            )
    np.testing.assert_allclose(poses[0], poses[1], atol=5e-3)


def test_simulated_time_waits_for_the_chunk_of_a_slow_inference(make_rig, tmp_path):
    (tmp_path / 'fault').write_text('half a second')
    ages = []
    with make_rig('support.faults:Swaying') as rig:
        rig._client.create_subscription(
            ActionChunk, 'vla_adapter/action_chunk',
            lambda m: ages.append(rig._sim._now() - to_seconds(m.observation_stamp)), EVERY,
        )  # fmt: skip
        result = rig.run(EpisodeJob('reach', 0))
    assert result.seconds == pytest.approx(4.0, abs=0.05) and not result.failure
    assert result.chunks >= 3 and result.refused == 0
    # 0.05 s are allowed; without waiting 0.5 s of real time were 1 s at this rate.
    assert max(ages[1:]) < 0.15, ages


def test_an_inference_that_fails_is_not_waited_for(make_rig, tmp_path):
    (tmp_path / 'fault').write_text('error')
    with make_rig('support.faults:Swaying') as rig:
        began = time.monotonic()
        result = rig.run(EpisodeJob('reach', 0))
    assert time.monotonic() - began < 30.0
    assert not result.success and 'device-side assert' in result.failure


def look(simulation):
    """What a level changes: light, colours, cameras, masses, gains, and what cameras do."""
    model, grey = simulation.model, np.full((24, 32, 3), 128, np.uint8)
    return {
        **{name: getattr(model, name).copy() for name in (
            'light_diffuse', 'geom_rgba', 'cam_pos', 'body_mass', 'actuator_gainprm',
        )},
        'image': simulation.images.seen('wrist', grey, 0.5),
        'lag': simulation.lag,
    }  # fmt: skip


def expected_look(job, level):
    with ArmSimulation() as simulation:
        Referee(simulation, job, TaskOptions(level=level))
        return look(simulation)


def test_an_episode_has_the_scene_of_its_level(make_rig):
    job, found = EpisodeJob('reach', 3), {}
    with make_rig('hold', '--level', 'hard') as rig:
        rig.run(job, lambda: found.update(look(rig._sim.simulation)))
    hard, nominal = expected_look(job, 'hard'), expected_look(job, 'nominal')
    for name, value in found.items():
        np.testing.assert_array_equal(value, hard[name], err_msg=name)
        assert np.any(value != nominal[name]), name
