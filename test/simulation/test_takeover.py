# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A policy begins, the expert takes over, and only the expert's part is a demonstration."""

from dataclasses import replace

import numpy as np
import pytest

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.simulation import collect
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.demonstration import demonstrate
from vla_adapter_ros.simulation.expert.chunks import ExpertChunks
from vla_adapter_ros.simulation.expert.expert import ExpertPolicy
from vla_adapter_ros.simulation.session import TaskSession
from vla_adapter_ros.simulation.takeover import TakeoverPolicy
from vla_adapter_ros.simulation.tasks import make_task

CONTRACT = resolve_contract('alicia_d_sim')


class Stray:
    """Turns the base joint and closes the gripper, whatever it sees."""

    def __init__(self, turn: float) -> None:
        self.turn = turn
        self.seen = []

    def predict(self, observation):
        self.seen.append(observation)
        actions = np.zeros((8, 7))
        actions[:, 0] = self.turn * np.arange(1, 9)
        return ActionChunk(actions, observation.stamp, 0.1, observation.instruction, {}, {})


@pytest.fixture(scope='module')
def simulation():
    with ArmSimulation() as arm:
        yield arm


def demonstrations(simulation, policy, seed=3):
    session = TaskSession(simulation, make_task('reach'), CONTRACT.cameras)
    expert = ExpertPolicy(simulation.object_poses)
    takeover = TakeoverPolicy(policy, CONTRACT)
    return (
        demonstrate(session, expert, seed),
        demonstrate(session, expert, seed, takeover=takeover),
    )


def test_the_expert_goes_on_from_where_the_policy_led(simulation):
    policy = Stray(0.01)
    alone, taken_over = demonstrations(simulation, policy)
    assert alone.success and taken_over.success and policy.seen
    start, handed = (demo.observations[0] for demo in (alone, taken_over))
    assert handed.stamp > start.stamp + 0.05
    assert handed.proprioception[0] > start.proprioception[0] + 0.005
    assert handed.proprioception[6] < start.proprioception[6] - 0.1
    assert handed.instruction == start.instruction
    # The policy closes the gripper in every step; the expert opens it, and that is recorded.
    assert taken_over.actions[-1][6] > 0.9


def test_the_policy_sees_images_whenever_it_is_asked(simulation):
    policy = Stray(0.0)
    demonstrations(simulation, policy)
    assert {tuple(seen.images) for seen in policy.seen} == {('third_person', 'wrist')}


def test_nothing_is_recorded_where_the_policy_needs_no_help(simulation):
    class Solves(ExpertChunks):
        def predict(self, observation):
            self.see(simulation.object_poses())
            return super().predict(observation)

    solved = [
        demonstrations(simulation, Solves(CONTRACT), seed)[1].solved_before for seed in range(6)
    ]
    records = [demonstrations(simulation, Stray(0.0), seed)[1] for seed in range(6)]
    assert any(solved) and not all(solved)  # it is interrupted early in some
    assert not any(record.solved_before for record in records)


def test_a_policy_of_another_robot_is_refused(tmp_path):
    Policy.random(CONTRACT, seed=1).save(tmp_path / 'checkpoint')
    assert TakeoverPolicy.load(tmp_path / 'checkpoint', CONTRACT).needs_images
    other = replace(CONTRACT, action_space='joint_position')
    with pytest.raises(VLAAdapterError, match='action_space'):
        TakeoverPolicy.load(tmp_path / 'checkpoint', other)


def test_a_missing_takeover_policy_is_an_error_in_one_line(tmp_path, capsys):
    command = [str(tmp_path / 'out'), '--task', 'reach', '--episodes', '1', '--workers', '1']
    assert collect.main([*command, '--takeover', str(tmp_path / 'nothing')]) == 1
    assert 'nothing' in capsys.readouterr().err


def test_a_takeover_policy_cannot_begin_a_series(tmp_path, capsys):
    with pytest.raises(SystemExit):
        collect.main([str(tmp_path), '--task', 'tabletop', '--takeover', str(tmp_path)])
    assert 'tabletop' in capsys.readouterr().err
