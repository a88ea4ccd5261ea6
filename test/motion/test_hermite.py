# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vla_adapter_ros.motion.hermite import (
    MAX_OVERSHOOT,
    JointLimits,
    knot_velocities,
    monotone_velocities,
    position_bounds,
    segment_peaks,
    smooth_velocities,
    stretch_to_limits,
)
from vla_adapter_ros.motion.plan import JointPlan

LIMITS = JointLimits(np.full(3, -2.0), np.full(3, 2.0), np.full(3, 1.0), np.full(3, 8.0))
knots = arrays(float, (5, 3), elements=st.floats(-2.0, 2.0))
speeds = arrays(float, (5, 3), elements=st.floats(-3.0, 3.0))
durations = arrays(float, 4, elements=st.floats(0.02, 2.0))


def sampled(durations, positions, velocities, count=2001):
    times = np.concatenate(([0.0], np.cumsum(durations)))
    plan = JointPlan(0.0, times, positions, velocities)
    moments = np.linspace(0.0, times[-1] - 1e-9, count)
    return moments, *plan.sample_many(moments)


@settings(max_examples=40, deadline=None)
@given(durations, knots, speeds)
def test_peaks_and_bounds_are_those_of_the_sampled_motion(durations, positions, velocities):
    moments, p, v = sampled(durations, positions, velocities)
    segment = np.searchsorted(np.cumsum(durations), moments, 'right').clip(max=3)
    low, high = position_bounds(durations, positions, velocities)
    fastest, _ = segment_peaks(durations, positions, velocities)
    step = moments[1]
    for i in range(4):
        inside = segment == i
        if inside.sum() < 10:
            continue
        assert (p[inside] >= low[i] - 1e-7).all() and (p[inside] <= high[i] + 1e-7).all()
        assert (np.abs(v[inside]) <= fastest[i] + 1e-7).all()
        # … and they are reached, up to the resolution of the samples.
        reach = fastest[i] * step + 1e-7
        assert (np.abs(p[inside].max(axis=0) - high[i]) <= reach).all()
        assert (np.abs(p[inside].min(axis=0) - low[i]) <= reach).all()


def test_acceleration_peak_is_exact_for_constant_deceleration():
    _, peak = segment_peaks(np.array([0.5]), np.array([[0.0], [0.25]]), np.array([[1.0], [0.0]]))
    assert peak == pytest.approx(2.0)


def test_smooth_velocities_keep_the_acceleration_continuous():
    rng = np.random.default_rng(0)
    h = np.array([0.1, 0.1, 0.3, 0.1, 0.2])
    positions = rng.normal(size=(6, 2))
    velocities = smooth_velocities(h, positions, None)
    slope = np.diff(positions, axis=0) / h[:, None]
    v0, v1 = velocities[:-1], velocities[1:]
    start = (6 * slope - 4 * v0 - 2 * v1) / h[:, None]
    end = (-6 * slope + 2 * v0 + 4 * v1) / h[:, None]
    # All knots but the one before the last segment, which is bent to end at rest.
    assert start[1:-1] == pytest.approx(end[:-2])
    assert not velocities[-1].any()


def test_smooth_peaks_are_well_below_monotone_peaks_on_a_smooth_motion():
    t = np.arange(9)[:, None] * 0.1
    positions = 0.15 * np.sin(2 * np.pi * 0.5 * t + np.array([0.3, 1.0, 2.0]))
    h = np.full(8, 0.1)
    inner = slice(0, 7)
    smooth = segment_peaks(h, positions, smooth_velocities(h, positions, None))[1][inner].max()
    monotone = segment_peaks(h, positions, monotone_velocities(h, positions, None))[1][inner].max()
    assert smooth < 0.75 * monotone


@settings(max_examples=60, deadline=None)
@given(durations, knots)
def test_monotone_spline_never_leaves_the_range_of_its_ends(durations, positions):
    velocities = monotone_velocities(durations, positions, None)
    low, high = position_bounds(durations, positions, velocities)
    assert (low >= np.minimum(positions[:-1], positions[1:]) - 1e-9).all()
    assert (high <= np.maximum(positions[:-1], positions[1:]) + 1e-9).all()


def test_a_joint_that_stops_at_a_target_does_not_swing_past_it():
    h = np.full(5, 0.1)
    positions = np.array([0.0, 0.15, 0.3, 0.45, 0.45, 0.45])[:, None] * np.ones(3)
    free = position_bounds(h, positions, smooth_velocities(h, positions, np.zeros(3)))[1]
    kept = position_bounds(h, positions, knot_velocities(h, positions, np.zeros(3), LIMITS))[1]
    assert free.max() > 0.457
    assert kept.max() <= 0.45 + 1.2 * MAX_OVERSHOOT


def test_a_joint_at_its_limit_is_not_swung_past_it():
    positions = np.array([[1.6], [1.9], [2.0], [2.0], [1.7]]) * np.ones(3)
    positions[:, 1] = 0.1 * np.arange(5)
    h = np.full(4, 0.1)
    smooth = smooth_velocities(h, positions, None)
    assert position_bounds(h, positions, smooth)[1].max() > 2.0
    kept = knot_velocities(h, positions, None, LIMITS)
    assert position_bounds(h, positions, kept)[1].max() <= 2.0 + 1e-12
    # Joints with room stay smooth.
    assert kept[:, 1] == pytest.approx(smooth[:, 1])


@settings(max_examples=60, deadline=None)
@given(durations, knots)
def test_stretched_path_keeps_limits_and_passes_every_knot(durations, positions):
    fit = stretch_to_limits(durations, positions, np.zeros(3), LIMITS)
    assert fit is not None
    stretched, velocities = fit
    assert (stretched >= durations).all()
    velocity, acceleration = segment_peaks(stretched, positions, velocities)
    assert velocity.max() <= 1.0 + 1e-9 and acceleration.max() <= 8.0 + 1e-9
    low, high = position_bounds(stretched, positions, velocities)
    assert low.min() >= -2.0 - 1e-9 and high.max() <= 2.0 + 1e-9


def test_segments_far_from_one_that_is_too_fast_keep_their_time():
    steps = np.full(12, 0.02)
    steps[2] = 0.4
    positions = np.concatenate(([0.0], np.cumsum(steps)))[:, None] * np.ones(3)
    fit = stretch_to_limits(np.full(12, 0.1), positions, np.zeros(3), LIMITS)
    assert fit is not None
    assert fit[0][2] > 0.4
    assert fit[0][7:11] == pytest.approx(np.full(4, 0.1))


def test_slow_path_is_not_stretched():
    positions = 0.01 * np.arange(6)[:, None] * np.ones(3)
    fit = stretch_to_limits(np.full(5, 0.1), positions, np.full(3, 0.1), LIMITS)
    assert fit is not None
    assert fit[0] == pytest.approx(np.full(5, 0.1))


def test_start_velocity_that_leaves_no_way_is_said():
    # At full speed away from the only target: growing the segment cannot undo the swing's
    # acceleration within a few rounds, and nothing may scale the given velocity.
    fast = np.full(3, 5.0)
    assert stretch_to_limits(np.array([0.1]), np.zeros((2, 3)), fast, LIMITS) is None
