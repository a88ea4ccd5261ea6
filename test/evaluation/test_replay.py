# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Replaying recorded episodes through the control stack."""

from __future__ import annotations

import numpy as np
import pytest

from support.data_samples import contract, observations, targets
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.evaluation.replay import EpisodeReplay, main, replay_in_simulation
from vla_adapter_ros.processing.observation import Observation

LENGTH = 40
START = np.array([0.0, -0.1, 0.5, 0.0, -1.0, 0.0, 1.0])


def motion(length):
    """A slow sweep from the start pose, gripper closing half-way, as states and targets."""
    rows = np.tile(START, (length + 1, 1))
    rows[:, 0] += 0.4 * np.sin(np.arange(length + 1) / 20)
    rows[:, 4] += 0.2 * np.sin(np.arange(length + 1) / 15)
    rows[:, 6] = np.clip(2.0 - np.arange(length + 1) / 20, 0, 1)
    return rows[:-1], rows[1:]


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp('data') / 'set'
    state, action = motion(LENGTH)
    items = [
        Observation(item.images, row, item.instruction, item.stamp)
        for item, row in zip(observations(LENGTH), state, strict=True)
    ]
    with DatasetWriter(path, contract(action_space='joint_delta'), storage='image') as writer:
        writer.add_episode(items, action, 'sweep')
    return path


def seen_at(stamp):
    return Observation({}, START, 'sweep', stamp)


def test_chunks_are_the_recorded_targets_by_time(dataset):
    replay = EpisodeReplay(open_source(dataset), 0)
    action = motion(LENGTH)[1].astype(np.float32)
    first = replay.predict(seen_at(100.0))
    np.testing.assert_array_equal(first.actions, action[:8])
    np.testing.assert_array_equal(replay.predict(seen_at(100.7)).actions, action[7:15])
    late = replay.predict(seen_at(103.6)).actions
    np.testing.assert_array_equal(late, action[[36, 37, 38, 39, 39, 39, 39, 39]])
    assert replay.contract.action_space == 'joint_position'
    assert (first.step_period, first.observation_stamp) == (0.1, 100.0)


def test_slow_motion_comes_out_of_the_stack_as_it_was_recorded(dataset):
    pytest.importorskip('mujoco', reason='MuJoCo is not installed')
    replay = EpisodeReplay(open_source(dataset), 0)
    result = replay_in_simulation(replay, latency=0.02)
    assert result.refused == 0
    assert result.chunks >= 4
    assert result.lag <= 0.2
    difference = np.abs(result.measured - result.recorded)
    assert difference[:, :6].max() < 0.05
    # It moved at all: the sweep is 0.4 rad.
    assert np.ptp(result.measured[:, 0]) > 0.35
    assert result.measured[-1, 6] < 0.1


def test_the_report_says_when_the_recording_uses_up_the_limits(dataset, tmp_path, capsys):
    pytest.importorskip('mujoco', reason='MuJoCo is not installed')
    slow = EpisodeReplay(open_source(dataset), 0)
    # 0.4 rad · sin(t / 2): 0.2 rad/s of 1, 0.1 rad/s² of 8, one frame's rounding aside.
    assert slow.demand == pytest.approx((0.2, 0.0125), abs=0.003)
    assert main([str(dataset)]) == 0
    said = capsys.readouterr().out
    assert 'up to 20% of the velocity and 1% of the acceleration limits\n' in said
    state = np.tile(START, (20, 1))
    state[:, 0] += np.abs(np.arange(20) % 10 - 5) * 0.095
    items = [Observation(i.images, row, i.instruction, i.stamp)
             for i, row in zip(observations(19), state[:-1], strict=True)]  # fmt: skip
    with DatasetWriter(tmp_path / 'fast', contract(), storage='image') as writer:
        writer.add_episode(items, state[1:], 'sweep')
    assert main([str(tmp_path / 'fast')]) == 0
    out = capsys.readouterr().out
    assert 'up to 95% of the velocity and 23' in out and 'lags behind' in out


def test_a_dataset_that_cannot_be_replayed_is_refused(dataset, tmp_path, capsys):
    with pytest.raises(DatasetError, match='episode 1: expected 0 to 0'):
        EpisodeReplay(open_source(dataset), 1)
    other = contract().to_dict()
    other['joints'][0]['name'] = 'shoulder'
    other['home'] = None
    strange = contract().from_dict(other)
    with DatasetWriter(tmp_path / 'other', strange, storage='image') as writer:
        writer.add_episode(observations(3), targets(3))
    pytest.importorskip('mujoco', reason='MuJoCo is not installed')
    assert main([str(tmp_path / 'other')]) == 1
    assert "joints ['shoulder', 'Joint2'" in capsys.readouterr().err


def test_command_line_reports_and_plots(dataset, tmp_path, capsys):
    pytest.importorskip('mujoco', reason='MuJoCo is not installed')
    assert main([str(dataset), '--output', str(tmp_path / 'plots')]) == 0
    out = capsys.readouterr().out
    assert "episode_000000: 'sweep': 4.0 s" in out
    assert 'Joint5' in out
    assert (tmp_path / 'plots/episode_000000.png').stat().st_size > 10_000
