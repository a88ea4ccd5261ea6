# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The emulated joint_trajectory_controller moves and refuses as the real one does."""

import numpy as np
import pytest

from vla_adapter_ros.simulation.trajectory_controller import (
    JointTrajectoryController,
    Trajectory,
    TrajectoryError,
    TrajectoryPoint,
)

NAMES = ('a', 'b')


def controller(**options):
    return JointTrajectoryController(NAMES, (0.0, 1.0), **options)


def one_point(time=1.0, positions=(1.0, 2.0), names=NAMES, stamp=0.0, **rest):
    return Trajectory(names, [TrajectoryPoint(time, positions, **rest)], stamp)


def derivative(arm, time, step=1e-5):
    return (arm.sample(time + step)[0] - arm.sample(time - step)[0]) / (2 * step)


def test_it_holds_the_given_positions_before_any_message():
    positions, velocities = controller().sample(12.0)
    assert positions.tolist() == [0.0, 1.0]
    assert velocities.tolist() == [0.0, 0.0]


def test_positions_alone_are_joined_by_straight_lines():
    arm = controller()
    arm.accept(one_point(time=2.0), now=10.0)
    positions, velocities = arm.sample(10.5)
    np.testing.assert_allclose(positions, [0.25, 1.25])
    np.testing.assert_allclose(velocities, [0.5, 0.5])


def test_velocities_make_a_cubic_that_meets_both_ends():
    arm = controller()
    points = [
        TrajectoryPoint(1.0, (1.0, 1.0), (0.7, -0.2)),
        TrajectoryPoint(2.0, (2.0, 0.5), (0.0, 0.0)),
    ]
    arm.accept(Trajectory(NAMES, points), now=5.0)
    np.testing.assert_allclose(arm.sample(5.0)[1], [0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(arm.sample(6.0)[0], [1.0, 1.0])
    np.testing.assert_allclose(arm.sample(6.0)[1], [0.7, -0.2])
    # The textbook Hermite value in the middle: (p0 + p1) / 2 + h (v0 - v1) / 8.
    np.testing.assert_allclose(arm.sample(5.5)[0], [0.5 - 0.7 / 8, 1.0 + 0.2 / 8])
    np.testing.assert_allclose(arm.sample(6.3)[1], derivative(arm, 6.3), atol=1e-6)


def test_accelerations_make_a_quintic():
    arm = controller()
    arm.accept(one_point(velocities=(0.0, 0.0), accelerations=(0.0, 0.0)), now=0.0)
    # Minimum-jerk profile 10 s³ - 15 s⁴ + 6 s⁵.
    s = 0.3
    np.testing.assert_allclose(arm.sample(s)[0][0], 10 * s**3 - 15 * s**4 + 6 * s**5)
    np.testing.assert_allclose(arm.sample(s)[1], derivative(arm, s), atol=1e-6)


def test_the_end_is_held_at_rest():
    arm = controller()
    arm.accept(one_point(), now=0.0)
    for time in (1.0, 1.001, 60.0):
        positions, velocities = arm.sample(time)
        assert positions.tolist() == [1.0, 2.0]
        assert velocities.tolist() == [0.0, 0.0]


def test_a_new_message_continues_from_the_commanded_position_and_velocity():
    arm = controller()
    arm.accept(one_point(velocities=(0.0, 0.0)), now=0.0)
    before = [values.copy() for values in arm.sample(0.4)]
    assert before[1][0] > 0.5
    arm.accept(one_point(time=0.5, positions=(0.0, 0.0), velocities=(0.0, 0.0)), now=0.4)
    np.testing.assert_allclose(arm.sample(0.4)[0], before[0])
    np.testing.assert_allclose(arm.sample(0.4)[1], before[1])
    np.testing.assert_allclose(arm.sample(0.9)[0], [0.0, 0.0])


def test_names_in_another_order_reach_the_right_joints():
    arm = controller()
    arm.accept(one_point(names=('b', 'a'), positions=(7.0, 8.0)), now=0.0)
    assert arm.sample(2.0)[0].tolist() == [8.0, 7.0]


def test_a_message_stamped_in_the_past_is_sampled_where_the_clock_is():
    arm = controller()
    points = [TrajectoryPoint(0.1 * (i + 1), (float(i), 0.0)) for i in range(8)]
    arm.accept(Trajectory(NAMES, points, stamp=100.0), now=100.35)
    np.testing.assert_allclose(arm.sample(100.4)[0], [3.0, 0.0])
    assert arm.sample(100.79)[0][0] < arm.sample(100.8)[0][0] == 7.0
    assert 2.0 < arm.sample(100.36)[0][0] < 3.0


def test_a_start_in_the_future_is_approached_from_now():
    arm = controller()
    arm.accept(one_point(time=1.0, stamp=11.0), now=10.0)
    np.testing.assert_allclose(arm.sample(11.0)[0], [0.5, 1.5])


def test_the_state_never_jumps_while_messages_arrive_at_random_times():
    rng = np.random.default_rng(0)
    arm, now, previous = controller(), 0.0, None
    for tick in range(2000):
        now = tick * 0.005
        if rng.random() < 0.1:
            ends = rng.uniform(-1, 1, (8, 2))
            speeds = np.vstack([rng.uniform(-1, 1, (7, 2)), np.zeros((1, 2))])
            points = [TrajectoryPoint(0.1 * (i + 1), ends[i], speeds[i]) for i in range(8)]
            arm.accept(Trajectory(NAMES, points), now)
        positions, velocities = (values.copy() for values in arm.sample(now))
        if previous is not None:
            assert np.abs(positions - previous[0]).max() < 0.005 * 60
            # Trapezoid rule: the velocity really is the slope of the position.
            slope = (positions - previous[0]) / 0.005
            assert np.abs(slope - 0.5 * (velocities + previous[1])).max() < 0.35
        previous = positions, velocities


@pytest.mark.parametrize(
    ('trajectory', 'reason'),
    [
        (one_point(names=('a', 'c')), "joint 'c' is unknown; expected a, b"),
        (one_point(names=('a',), positions=(1.0,)), 'joints b are missing'),
        (one_point(names=('a', 'a')), "joint 'a' is named 2 times"),
        (one_point(positions=(1.0,)), 'point 0: 1 positions, expected 2'),
        (one_point(velocities=(1.0,)), 'point 0: 1 velocities, expected 2'),
        (one_point(positions=(1.0, float('nan'))), 'positions of b are not finite'),
        (one_point(velocities=(float('inf'), 0.0)), 'velocities of a are not finite'),
        (one_point(velocities=(0.0, 0.1)), 'velocity of the last point of b is 0.1'),
        (one_point(time=-0.1), 'not negative'),
        (one_point(time=float('nan')), 'must be finite'),
        (one_point(stamp=3.0), 'ended 6.000 s ago'),
        (Trajectory(NAMES, []), 'no points'),
        (
            Trajectory(NAMES, [TrajectoryPoint(0.2, (0, 0)), TrajectoryPoint(0.2, (1, 1))]),
            'time of point 1 (0.2 s) is not after point 0 (0.2 s)',
        ),
    ],
)
def test_bad_messages_are_refused_and_the_motion_goes_on(trajectory, reason):
    arm = controller()
    arm.accept(one_point(time=1.0), now=9.5)
    before = arm.sample(10.0)[0].copy()
    with pytest.raises(TrajectoryError) as error:
        arm.accept(trajectory, now=10.0)
    assert reason in str(error.value)
    assert '\n' not in str(error.value)
    np.testing.assert_array_equal(arm.sample(10.0)[0], before)


def test_humble_accepts_a_moving_end_when_allowed():
    arm = controller(allow_nonzero_velocity_at_end=True)
    arm.accept(one_point(velocities=(0.5, 0.0)), now=0.0)
    np.testing.assert_allclose(arm.sample(1.0 - 1e-9)[1], [0.5, 0.0], atol=1e-6)
