# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Motion to one pose, and the speed that operators allow: within limits, straight, from rest."""

from __future__ import annotations

import numpy as np
import pytest

from support.motion_helpers import HOME, chunk_to, line_from, ready, robot
from vla_adapter_ros.control.safety import SafetyFilter
from vla_adapter_ros.motion.hermite import segment_peaks
from vla_adapter_ros.robot.action_space import MotionError

AWAY = HOME + np.array([0.6, -0.5, 0.4, 0.3, -0.2, 0.1, -0.5])


def peak_fractions(plan):
    """Largest velocity and acceleration of the arm as fractions of the contract's limits."""
    contract = robot()
    knots = (np.diff(plan.arm.times), plan.arm.positions, plan.arm.velocities)
    velocity, acceleration = segment_peaks(*knots)
    limits = contract.max_velocity[:-1], contract.max_acceleration[:-1]
    return (velocity / limits[0]).max(), (acceleration / limits[1]).max()


@pytest.mark.parametrize(('ramp', 'scale'), [(0.2, 1.0), (0.2, 0.5), (1.0, 1.0), (0.2, 0.05)])
def test_travel_ends_at_the_goal_and_uses_the_allowed_speed(ramp, scale):
    scheduler = ready(safety=SafetyFilter(robot()))
    scheduler.speed_scale = scale
    plan = scheduler.travel(AWAY, 0.0, ramp)
    velocity, acceleration = peak_fractions(plan)
    assert 0.9 * ramp * scale < velocity <= ramp * scale + 1e-6
    assert acceleration <= 1.0
    assert scheduler.commanded(plan.end)[0] == pytest.approx(AWAY, abs=1e-9)
    assert not scheduler.commanded(plan.end)[1].any()


def test_travel_is_straight_in_joint_space():
    scheduler = ready()
    plan = scheduler.travel(AWAY, 0.0, 0.2)
    way = (AWAY - HOME)[:-1]
    for time in np.linspace(0.0, plan.end, 23):
        fraction = (scheduler.commanded(time)[0] - HOME)[:-1] / way
        assert fraction == pytest.approx(np.full(6, fraction[0]), abs=1e-6)


def test_travel_to_where_the_arm_is_does_not_move():
    scheduler = ready()
    plan = scheduler.travel(HOME, 1.0, 0.2)
    assert not scheduler.moving(1.1)
    assert np.ptp(plan.arm.positions, axis=0).max() == 0.0


def test_travel_through_a_limit_or_while_moving_is_refused_and_changes_nothing():
    scheduler = ready(safety=SafetyFilter(robot()))
    outside = HOME.copy()
    outside[1] = 2.0
    with pytest.raises(MotionError, match='Joint2 would reach'):
        scheduler.travel(outside, 0.0, 0.2)
    assert not scheduler.moving(0.5)
    scheduler.travel(AWAY, 0.0, 0.2)
    with pytest.raises(MotionError, match='still moving'):
        scheduler.travel(HOME, 0.5, 0.2)


def test_travel_can_be_stopped_on_the_way_within_limits():
    scheduler = ready()
    plan = scheduler.travel(AWAY, 0.0, 1.0)
    stop = scheduler.hold(0.4 * plan.end)
    assert stop.end < 0.4 * plan.end + 0.3
    assert peak_fractions(stop)[1] <= 1.0
    assert np.abs(stop.sample(stop.end)[0] - AWAY)[:-1].max() > 0.1


@pytest.mark.parametrize('scale', [1.0, 0.4, 0.1])
def test_a_chunk_is_slowed_to_the_speed_scale(scale):
    scheduler = ready(safety=SafetyFilter(robot()))
    scheduler.speed_scale = scale
    fast = line_from(HOME, np.array([0.09] * 6 + [0.0]))
    plan = scheduler.accept(chunk_to(fast, 0.0), 0.0, HOME)
    velocity, _ = peak_fractions(plan)
    assert 0.8 * min(scale, 0.9) < velocity <= scale + 1e-6
    # It arrives at the same place, later.
    assert scheduler.commanded(plan.end)[0] == pytest.approx(fast[-1], abs=1e-6)


def test_a_lower_speed_scale_in_full_motion_gives_a_plan_within_the_contract():
    scheduler = ready(safety=SafetyFilter(robot()))
    fast = line_from(HOME, np.array([0.09] * 6 + [0.0]))
    scheduler.accept(chunk_to(fast, 0.0), 0.0, HOME)
    now, (here, speed) = 0.4, scheduler.commanded(0.4)
    assert speed.max() > 0.8
    scheduler.speed_scale = 0.1
    plan = scheduler.accept(chunk_to(line_from(here, 0.09), now), now, here)
    assert plan is not None, scheduler.last_refusal
    velocity, acceleration = peak_fractions(plan)
    assert velocity <= 1.001 and acceleration <= 1.001
    later = plan.sample(now + 0.6)[1][:-1]
    assert np.abs(later).max() <= 0.1 + 1e-6
