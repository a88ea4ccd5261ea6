# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Recorded joint states that were not measured are left out or refused, never trained on."""

from __future__ import annotations

import math

import numpy as np
import pytest

import support.bag_samples as samples
from support.bag_samples import write_bag
from support.data_samples import contract
from vla_adapter_ros.data.bags import measured
from vla_adapter_ros.data.bags.episode import BagEpisode
from vla_adapter_ros.data.bags.measured import check_not_frozen, trim_unmeasured
from vla_adapter_ros.data.bags.streams import JointTrack
from vla_adapter_ros.errors import DatasetError

PERIOD = 20_000_000  # [ns]


def track(count=50):
    """Return joint states of an arm that moves 0.5 rad/s, away from its zero pose."""
    states = np.zeros((count, 7))
    states[:, :6] = 0.1 + 0.01 * np.arange(count)[:, None]
    stamps = 10**18 + PERIOD * np.arange(count)
    return JointTrack(stamps, stamps + 1_000_000, states)


def test_measured_states_are_kept_as_they_are():
    kept, left_out = trim_unmeasured(track(), contract(), 'bag a')
    assert left_out == ''
    np.testing.assert_array_equal(kept.states, track().states)


@pytest.mark.parametrize(('value', 'reason'), [(0.0, 'has no data yet'), (-math.pi, 'raw zero')])
def test_values_before_the_driver_has_data_are_left_out(value, reason):
    recorded = track()
    recorded.states[:10, :6] = value
    kept, left_out = trim_unmeasured(recorded, contract(), 'bag a')
    np.testing.assert_array_equal(kept.states, track().states[10:])
    np.testing.assert_array_equal(kept.stamps, track().stamps[10:])
    np.testing.assert_array_equal(kept.times, track().times[10:])
    assert 'first 0.20 s (10 joint states)' in left_out and reason in left_out


def test_a_driver_that_never_had_data():
    recorded = track()
    recorded.states[:] = 0.0
    with pytest.raises(DatasetError, match='bag a: .*no data yet in the whole recording'):
        trim_unmeasured(recorded, contract(), 'bag a')


@pytest.mark.parametrize(
    ('rows', 'joint', 'add', 'message'),
    [
        (slice(30, 31), 2, 1.5, r'bag a: at 0.60 s: .*{name} jumped by 1.5'),
        (slice(30, None), 2, 2 * math.pi, r'bag a: at 0.60 s: {name} measured at .* outside'),
        (slice(0, 5), 1, 2 * math.pi, r'bag a: at 0.00 s: {name} measured at .* outside'),
    ],
)
def test_impossible_states_are_refused_with_time_and_joint(rows, joint, add, message):
    recorded = track()
    recorded.states[rows, joint] += add
    name = contract().joint_names[joint]
    with pytest.raises(DatasetError, match=message.format(name=name)):
        trim_unmeasured(recorded, contract(), 'bag a')


def test_a_driver_that_loses_the_arm_is_refused():
    recorded = track()
    recorded.states[40:] = 0.0
    with pytest.raises(DatasetError, match=r'bag a: at 0.80 s: .*the driver lost the arm'):
        trim_unmeasured(recorded, contract(), 'bag a')


def test_frozen_states_are_refused_only_while_the_command_moves():
    moving = track().states
    frozen = moving.copy()
    frozen[10:] = frozen[10]
    stamps = track().stamps
    check_not_frozen(stamps, moving, moving, contract(), 'bag a')
    check_not_frozen(stamps, frozen, frozen, contract(), 'bag a')
    with pytest.raises(DatasetError, match=r'bag a: at 0.20 s: joint states frozen for 0.78 s'):
        check_not_frozen(stamps, frozen, moving, contract(), 'bag a')


def test_a_bag_that_begins_with_zeros_begins_later_and_says_so(tmp_path, monkeypatch):
    plain = BagEpisode(write_bag(tmp_path / 'plain'))
    moving = samples.joints_at
    monkeypatch.setattr(
        samples, 'joints_at', lambda t: moving(t) if t > 0.45 else np.zeros_like(moving(t))
    )
    episode = BagEpisode(write_bag(tmp_path / 'late'))
    assert 0 < len(episode) < len(plain)
    assert episode.state[:, :6].any(axis=1).all()
    assert any('has no data yet' in text for text in episode.report['warnings'])


def test_a_bag_whose_states_freeze_is_refused(tmp_path, monkeypatch):
    moving = samples.joints_at
    monkeypatch.setattr(samples, 'commanded_at', lambda t: moving(t)[:6] + 0.25)
    monkeypatch.setattr(samples, 'joints_at', lambda t: moving(min(t, 2.0)))
    with pytest.raises(DatasetError, match='bag frozen: .*joint states frozen for'):
        BagEpisode(write_bag(tmp_path / 'frozen'))


def test_states_that_are_passed_at_once_are_those_that_pass_one_by_one(monkeypatch):
    """Most recordings are checked in one step; what that lets through has no fault."""
    generator = np.random.default_rng(0)
    passed = 0
    for number in range(300):
        recorded = track(12)
        recorded.states[:, :6] += 0.03 * np.arange(6)
        row = int(generator.integers(12))
        value = generator.choice([0.0, -math.pi, 0.11, 0.3, 1.0, 3.0, -3.3, 9.0])
        recorded.states[row, : generator.integers(0, 7)] = value
        recorded.states[:, :6] += generator.normal(0, 1e-3, (12, 6)) * (number % 2)
        if not measured._beyond_doubt(recorded, contract()):
            continue
        passed += 1
        with monkeypatch.context() as patch:
            patch.setattr(measured, '_beyond_doubt', lambda *_: False)
            kept, left_out = trim_unmeasured(recorded, contract(), 'bag a')
        assert left_out == ''
        assert kept is recorded
    assert 50 < passed < 250
