# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.motion_helpers import robot
from vla_adapter_ros.motion.hermite import JointLimits, position_bounds, segment_peaks
from vla_adapter_ros.motion.track_planner import Targets, brake_track, plan_track

LIMITS = JointLimits.of_arm(robot())
STEPS = 8


def targets(knots, phase=0.0, velocity=None):
    velocity = np.zeros(6) if velocity is None else velocity
    return Targets(np.asarray(knots), np.full(len(knots) - 1, 0.1), velocity, phase)


def stoppable_state(rng):
    position = rng.uniform(LIMITS.lower, LIMITS.upper)
    velocity = rng.uniform(-1.0, 1.0, 6) * LIMITS.velocity * rng.choice([0.0, 0.3, 1.0])
    stop = velocity * np.abs(velocity) / (2.0 * LIMITS.acceleration)
    leaves = (position + stop < LIMITS.lower) | (position + stop > LIMITS.upper)
    return position, np.where(leaves, 0.0, velocity)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([0.003, 0.03, 0.3, 1.0]),
    phase=st.floats(0.0, STEPS - 0.001),
    agree=st.booleans(),
)
# A joint that needs its whole acceleration to stop at its limit.
@example(seed=43338, spread=0.003, phase=0.0, agree=False)
def test_any_start_and_any_targets_give_a_motion_within_limits(seed, spread, phase, agree):
    rng = np.random.default_rng(seed)
    position, velocity = stoppable_state(rng)
    if agree:
        time = (np.arange(STEPS + 1)[:, None] - phase) * 0.1
        knots = position + velocity * time + rng.normal(0.0, spread, (STEPS + 1, 6))
    else:
        knots = position + np.cumsum(rng.normal(0.0, spread, (STEPS + 1, 6)), axis=0)
    knots = np.clip(knots, LIMITS.lower, LIMITS.upper)
    track = plan_track(position, velocity, targets(knots, phase, velocity), LIMITS)
    durations = np.diff(track.times)
    assert track.times[0] == 0.0 and (durations > 0.0).all()
    assert track.positions[0] == pytest.approx(position)
    assert track.velocities[0] == pytest.approx(velocity)
    assert not track.velocities[-1].any()
    assert track.positions[-1] == pytest.approx(knots[-1])
    speed, acceleration = segment_peaks(durations, track.positions, track.velocities)
    assert (speed <= LIMITS.velocity * (1 + 1e-6)).all()
    assert (acceleration <= LIMITS.acceleration * (1 + 1e-6)).all()
    low, high = position_bounds(durations, track.positions, track.velocities)
    assert (low >= LIMITS.lower - 1e-4).all() and (high <= LIMITS.upper + 1e-4).all()
    assert (np.diff(track.phases) >= 0.0).all() and track.phases[-1] == STEPS


def test_chunk_that_agrees_with_the_motion_changes_nothing():
    time = np.arange(STEPS + 1)[:, None] * 0.1
    speed = np.linspace(-0.4, 0.4, 6)
    knots = speed * time
    phase = 2.37
    track = plan_track(speed * 0.1 * phase, speed, targets(knots, phase, speed), LIMITS)
    assert track.kind == 'join'
    # On the way, on time: every knot at its own moment, until the final stop.
    ahead = np.arange(3, STEPS)
    assert track.times[1:-1] == pytest.approx((ahead - phase) * 0.1)
    assert track.positions[1:-1] == pytest.approx(knots[3:-1], abs=1e-4)
    assert track.velocities[1:-2] == pytest.approx(np.tile(speed, (len(ahead) - 1, 1)), abs=0.02)


def test_small_offset_is_taken_up_without_losing_time():
    time = np.arange(STEPS + 1)[:, None] * 0.1
    speed = np.full(6, 0.5)
    track = plan_track(speed * 0.03 + 0.015, speed, targets(speed * time, 0.3, speed), LIMITS)
    assert track.kind == 'join'
    assert track.times[1:-1] == pytest.approx((np.arange(1, STEPS) - 0.3) * 0.1)
    # The offset is gone by the fourth knot, and no target after it is missed.
    assert track.positions[4:] == pytest.approx((speed * time)[4:])


def test_waypoint_a_hair_ahead_does_not_jerk():
    speed = np.full(6, 0.5)
    knots = speed * np.arange(STEPS + 1)[:, None] * 0.1
    phase = 2.0 - 1e-5
    track = plan_track(knots[2] + 0.01, speed, targets(knots, phase, speed), LIMITS)
    assert track.kind == 'join'
    assert track.times[1] > 0.09


def test_far_target_is_approached_straight_and_in_time_given_by_the_limits():
    knots = np.tile(np.array([1.0, 0.5, 1.0, 0.0, 0.0, 0.0]), (STEPS + 1, 1))
    track = plan_track(np.zeros(6), np.zeros(6), targets(knots), LIMITS)
    assert track.kind == 'approach'
    # Over 1 rad at 1 rad/s at most, from rest and almost to rest: a cubic needs 1.5 s.
    assert 1.3 < track.times[1] < 1.6
    low, high = position_bounds(np.diff(track.times), track.positions, track.velocities)
    assert low.min() > -0.006 and high[:, 1].max() < 0.506


@pytest.mark.parametrize('speed', [0.3, 1.0])
def test_motion_the_wrong_way_turns_within_its_stopping_distance(speed):
    # Joint 1 must go back while joint 4 needs seconds: it may not drift on until then.
    velocity = np.array([speed, 0.0, 0.0, 0.0, 0.0, 0.0])
    knots = np.tile(np.array([-0.1, 0.0, 0.0, 2.0, 0.0, 0.0]), (STEPS + 1, 1))
    track = plan_track(np.zeros(6), velocity, targets(knots), LIMITS)
    _, high = position_bounds(np.diff(track.times), track.positions, track.velocities)
    stopping_distance = speed**2 / (2 * 8.0)
    assert high[:, 0].max() < 1.6 * stopping_distance + 2e-3


def test_fast_reference_that_fills_the_limits_still_leaves_room_to_join():
    speed = np.full(6, 0.97)
    knots = speed * np.arange(STEPS + 1)[:, None] * 0.1
    behind = knots[1] - 0.02
    track = plan_track(behind, speed, targets(knots, 1.0, speed), LIMITS)
    assert track.kind == 'join'
    # Catching up at the limit is impossible: the reference is slowed, not left.
    assert track.times[-1] > 0.7


def test_brake_stops_each_joint_as_fast_as_allowed():
    velocity = np.array([1.0, -0.5, 0.1, 0.0, 0.99995, -1.0])
    track = brake_track(np.zeros(6), velocity, LIMITS)
    # What a later hand-over merges needs a hundredth of the limit.
    used = 0.99 * LIMITS.acceleration
    assert track.times[-1] == pytest.approx(1.0 / used[0], rel=1e-6)
    expected = velocity * np.abs(velocity) / (2 * used)
    assert track.positions[-1] == pytest.approx(expected, abs=1e-4)
    _, acceleration = segment_peaks(np.diff(track.times), track.positions, track.velocities)
    assert (acceleration <= LIMITS.acceleration * (1 + 1e-6)).all()


def test_brake_is_gentle_where_it_may_and_hard_at_a_limit():
    velocity = np.full(6, 0.05)
    gentle = brake_track(np.zeros(6), velocity, LIMITS, shortest=0.05)
    assert gentle.times[1] == pytest.approx(0.05)
    close = LIMITS.upper - 0.0005
    hard = brake_track(close, velocity, LIMITS, shortest=0.05)
    assert (hard.positions <= LIMITS.upper).all()


def test_brake_at_rest_stays():
    track = brake_track(np.ones(6) * 0.2, np.zeros(6), LIMITS, shortest=0.05)
    assert track.times.tolist() == [0.0, 0.05]
    assert (track.positions == 0.2).all() and not track.velocities.any()


@pytest.mark.parametrize('creep', [1e-10, 1e-7, 1e-4])
def test_brake_of_a_joint_almost_at_rest_is_no_jerk(creep):
    position = np.array([0.2645, -0.4566, 0.8702, 0.1, -1.199, -0.4172])
    velocity = np.array([-0.6721, 0.1057, -0.1343, creep, 0.0286, 0.6721])
    track = brake_track(position, velocity, LIMITS, shortest=0.0)
    assert np.diff(track.times).min() > 5e-5
    _, acceleration = segment_peaks(np.diff(track.times), track.positions, track.velocities)
    assert (acceleration <= LIMITS.acceleration * (1 + 1e-6)).all()
