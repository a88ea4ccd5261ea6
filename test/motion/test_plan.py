# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest

from vla_adapter_ros.motion.plan import JointPlan, rest_plan

RNG = np.random.default_rng(0)
TIMES = np.array([0.0, 0.05, 0.3, 0.31, 1.0])
VELOCITIES = np.vstack((RNG.normal(size=(4, 3)), np.zeros((1, 3))))
PLAN = JointPlan(100.0, TIMES, RNG.normal(size=(5, 3)), VELOCITIES)


def test_knots_are_met_in_position_and_velocity():
    for time, position, velocity in zip(TIMES, PLAN.positions, PLAN.velocities, strict=True):
        p, v = PLAN.sample(100.0 + time)
        assert p == pytest.approx(position) and v == pytest.approx(velocity)


def test_before_and_after_it_rests():
    assert PLAN.sample(99.0)[0] == pytest.approx(PLAN.positions[0])
    assert not PLAN.sample(99.0)[1].any()
    assert PLAN.sample(105.0)[0] == pytest.approx(PLAN.positions[-1])
    assert not PLAN.sample(105.0)[1].any()


def test_many_moments_are_the_same_as_one_by_one():
    moments = np.concatenate((np.linspace(99.9, 101.2, 200), 100.0 + TIMES))
    positions, velocities = PLAN.sample_many(moments)
    for moment, p, v in zip(moments, positions, velocities, strict=True):
        one = PLAN.sample(float(moment))
        assert p == pytest.approx(one[0], abs=1e-9) and v == pytest.approx(one[1], abs=1e-9)


def test_rest_of_a_motion_is_the_same_motion():
    left = PLAN.remaining(100.2, 0.05)
    moments = np.linspace(100.2, 101.5, 50)
    assert left.sample_many(moments)[0] == pytest.approx(PLAN.sample_many(moments)[0])
    assert left.times[0] == 0.0 and left.end == pytest.approx(PLAN.end)
    assert PLAN.remaining(105.0, 0.05).times.tolist() == [0.0, 0.05]


def test_points_for_a_controller_leave_out_early_knots_but_never_the_last():
    assert PLAN.points()[0].tolist() == [0.05, 0.3, 0.31, 1.0]
    assert PLAN.points(0.1)[0].tolist() == [0.3, 0.31, 1.0]
    assert PLAN.points(9.0)[0].tolist() == [1.0]


def test_plan_of_rest_ends_where_it_starts():
    rest = rest_plan(np.ones(3), 5.0)
    assert rest.end == 5.0
    assert rest.shifted(2.0).start == 7.0
