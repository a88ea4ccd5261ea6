# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Clocks and commands: which message a frame sees, what was commanded when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.bag_samples import trajectory
from support.data_samples import contract
from vla_adapter_ros.data.bags.alignment import align, ascending, drop_idle_frames
from vla_adapter_ros.data.bags.commands import StreamTrack, TrajectoryTrack, gripper_fraction
from vla_adapter_ros.data.bags.streams import JointTrack
from vla_adapter_ros.errors import DatasetError

S = 1_000_000_000
AGE = {'a': 0.2, 'b': 0.2}


def test_a_message_at_the_frame_time_is_seen():
    found = align({'a': np.arange(11) * S // 10, 'b': np.arange(21) * S // 20},
                  S // 10, AGE, 0.1, 'x')  # fmt: skip
    assert found.indices['a'].tolist() == list(range(11))
    assert found.indices['b'].tolist() == list(range(0, 21, 2))
    assert found.skew.max() == 0


@given(
    st.lists(st.integers(1, 150), min_size=20, max_size=60),
    st.lists(st.integers(1, 150), min_size=20, max_size=60),
)
def test_frames_see_the_newest_message_before_them(first, second):
    streams = {n: np.cumsum(steps) * S // 1000 for n, steps in zip('ab', (first, second))}
    if min(s[-1] for s in streams.values()) <= max(s[0] for s in streams.values()):
        return
    found = align(streams, S // 10, AGE, 9.0, 'x')
    assert set(np.diff(found.times).tolist()) <= {S // 10}
    for name, stamps in streams.items():
        for time, index in zip(found.times, found.indices[name]):
            assert stamps[index] <= time
            assert index + 1 == len(stamps) or stamps[index + 1] > time
    oldest = np.min([streams[n][found.indices[n]] for n in 'ab'], axis=0)
    np.testing.assert_array_equal(found.stamps, oldest)


def test_gaps_skew_and_silence_are_refused():
    a = np.arange(30) * S // 10
    late = np.delete(a, range(10, 14))
    with pytest.raises(DatasetError, match=r'x: b: 0.50 s without a message after 0.90 s, allow'):
        align({'a': a, 'b': late}, S // 10, AGE, 1.0, 'x')
    with pytest.raises(DatasetError, match=r'at 0.30 s the streams are 0.300 s apart, all'):
        align({'a': a, 'b': a[::4]}, S // 10, {'a': 1, 'b': 1}, 0.1, 'x')
    with pytest.raises(DatasetError, match='x: b: no messages'):
        align({'a': a, 'b': a[:0]}, S // 10, AGE, 1.0, 'x')
    with pytest.raises(DatasetError, match=r'do not overlap: a 0.00..2.90 s, b 10.00..12.90 s'):
        align({'a': a, 'b': a + 10 * S}, S // 10, AGE, 1.0, 'x')


def test_swapped_messages_are_sorted_but_clocks_must_not_jump():
    assert ascending(np.array([0, 2, 1, 3]) * S // 20, 'x').tolist() == [0, 2, 1, 3]
    with pytest.raises(DatasetError, match=r'x: message 2: the stamp goes back by 2.000 s'):
        ascending(np.array([0, 5, 3, 6]) * S, 'x')
    assert ascending(np.zeros(0, np.int64), 'x').tolist() == []


def test_still_frames():
    values = np.array([[0, 0], [0, 0], [1, 0], [1, 0], [2, 0], [2, 0], [2, 0]], float)
    assert drop_idle_frames(values, 'off', 0.1).tolist() == list(range(7))
    assert drop_idle_frames(values, 'ends', 0.1).tolist() == [1, 2, 3, 4]
    assert drop_idle_frames(values, 'all', 0.1).tolist() == [0, 2, 4]
    assert drop_idle_frames(values[:2], 'ends', 0.1).tolist() == [0]


def track(*messages):
    found = TrajectoryTrack(['j', 'k'], lambda time: np.array([time, 0.0]), 'bag: /t')
    for start, message in messages:
        found.add(message, start)
    return found


def test_trajectories_are_followed_replaced_and_held():
    first = trajectory(['k', 'j'], [1.0, 2.0], [[10, 1], [20, 2]])
    second = trajectory(['j', 'k'], [1.0], [[5, 5]])
    found = track((1.0, first), (2.5, second))
    assert found.at(0.9) is None
    np.testing.assert_allclose(found.at(1.0), [1, 0])
    np.testing.assert_allclose(found.at(1.5), [1, 5])
    np.testing.assert_allclose(found.at(2.25), [1.25, 12.5])
    # From where the first one was at 2.5 s.
    np.testing.assert_allclose(found.at(2.5), [1.5, 15])
    np.testing.assert_allclose(found.at(3.0), [3.25, 10])
    np.testing.assert_allclose(found.at(99.0), [5, 5])


def test_a_trajectory_cancels_one_that_has_not_begun():
    goal = trajectory(['j', 'k'], [1.0], [[1, 1]])
    later, now = trajectory(['j', 'k'], [1.0], [[9, 9]]), trajectory(['j', 'k'], [1.0], [[3, 3]])
    found = track((0.0, goal), (5.0, later), (2.0, now))
    expected = track((0.0, goal), (2.0, now))
    for time in (0.5, 1.9, 2.5, 4.0, 7.0):
        np.testing.assert_array_equal(found.at(time), expected.at(time))


def test_velocities_make_the_motion_smooth():
    message = trajectory(['j', 'k'], [1.0, 2.0], [[1, 0], [2, 0]], [[1, 0], [0, 0]])
    found = track((0.0, message))
    times = np.linspace(1.0, 2.0, 101)
    position = np.array([found.at(t)[0] for t in times])
    speed = np.gradient(position, times)
    assert speed[1] == pytest.approx(1.0, abs=0.05)
    assert speed[-2] == pytest.approx(0.0, abs=0.05)


def test_empty_trajectories_stop_the_arm():
    going = trajectory(['j', 'k'], [2.0], [[2, 2]])
    found = track((0.0, going), (1.0, trajectory(['j', 'k'], [], [])))
    np.testing.assert_allclose(found.at(5.0), [1, 1])


@pytest.mark.parametrize(
    ('message', 'text'),
    [
        (trajectory(['j'], [1.0], [[1]]), r"a command for \['j'\] with 1 values, expected"),
        (trajectory(['j', 'k'], [1.0], [[1, np.nan]]), r'not finite: \[1.0, nan\]'),
        (trajectory(['j', 'k'], [1.0, 1.0], [[1, 1], [2, 2]]), 'times of a trajectory do not inc'),
        (trajectory(['j', 'k'], [0.0, 0.0], [[1, 1], [2, 2]]), 'times of a trajectory do not inc'),
    ],
)
def test_bad_commands_are_refused(message, text):
    with pytest.raises(DatasetError, match=f'bag: /t: .*{text}|bag: /t: {text}'):
        track((0.0, message))


def test_streamed_commands_hold():
    found = StreamTrack(['j', 'k'], 'x')
    found.add(['k', 'other', 'j'], [1.0, 9.0, 2.0], 1.0)
    found.add(['j', 'k'], [3.0, 4.0], 2.0)
    assert found.at(0.5) is None
    assert found.at(1.99).tolist() == [2, 1]
    assert found.at(7).tolist() == [3, 4]


def test_gripper_commands_become_open_fractions():
    assert gripper_fraction(contract(), 0.0) == 1.0
    assert gripper_fraction(contract(), 0.025) == 0.0
    assert gripper_fraction(contract(), 0.02) == pytest.approx(0.2)
    assert gripper_fraction(contract(), 0.5) == 0.0


def test_the_clock_of_joint_states_is_looked_at_once(monkeypatch):
    stamps = np.arange(500) * 10_000_000
    track = JointTrack(stamps, stamps + 5_000_000_000, np.zeros((500, 7)))
    calls, median = [], np.median
    monkeypatch.setattr(np, 'median', lambda *a, **k: calls.append(0) or median(*a, **k))
    times = [track.stamped(int(time)) for time in track.times]
    np.testing.assert_allclose(times, stamps / 1e9)
    # Once a message would be quadratic: a minute for ten minutes at 100 Hz.
    assert len(calls) == 1
