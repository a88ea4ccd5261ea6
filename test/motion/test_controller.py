# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What a joint_trajectory_controller makes of our trajectories, message delays included."""

import numpy as np
import pytest

from benchmarks.seams import SeamSettings, Task
from support.motion_helpers import HOME, chunk_to, line_from, ready, received, robot, slow_step
from vla_adapter_ros.control.front_ends import make_front_end
from vla_adapter_ros.simulation.trajectory_controller import JointTrajectoryController

TICK = 0.005


def follow(delay, seconds=15.0, seed=0):
    """Commanded positions of the scheduler, and positions and velocities of the controller."""
    task, rng = Task(robot(), SeamSettings(seed=seed)), np.random.default_rng(seed)
    start = np.append(task.path(np.zeros(1))[0], 0.5)
    scheduler, front_end = ready(start, execute_steps=4), make_front_end(robot())
    controller = JointTrajectoryController(robot().joint_names, start[:-1])
    pending, wire, rows = None, None, []
    for i in range(int(seconds / 0.001)):
        now = 0.001 * i
        if pending is not None and now >= pending[0]:
            plan = scheduler.accept(pending[1], now, pending[2])
            pending = None
            if plan is not None:
                wire = (now + delay(rng), received(front_end.on_plan(plan)[0]))
        if wire is not None and now >= wire[0]:
            controller.accept(wire[1], now)
            wire = None
        if i % 20 == 0 and pending is None and scheduler.needs_inference(now):
            observed = scheduler.commanded(max(now - 0.05, 0.0))[0]
            chunk = task.chunk(observed, now, 0.1)
            pending = (now + 0.15 * rng.uniform(0.6, 1.4), chunk, observed)
        if i % 5 == 0:
            rows.append((scheduler.commanded(now)[0][:-1], *controller.sample(now)))
    return (np.array(column) for column in zip(*rows, strict=True))


@pytest.mark.parametrize('seed', [0, 1])
def test_messages_that_arrive_some_milliseconds_late_leave_no_trace(seed):
    commanded, positions, velocities = follow(lambda rng: rng.uniform(0.001, 0.005), seed=seed)
    acceleration = np.abs(np.diff(velocities, axis=0)) / TICK
    assert (acceleration <= robot().max_acceleration[:-1] * 1.02).all()
    assert (np.abs(velocities) <= robot().max_velocity[:-1] * 1.02).all()
    # The controller is behind by the delay and no more.
    assert np.abs(positions - commanded).max() < 0.006


def test_without_delay_the_controller_is_where_we_say_it_is():
    commanded, positions, _ = follow(lambda rng: 0.0, seconds=6.0)
    assert np.abs(positions - commanded).max() < 3e-4


def test_hold_and_gripper_trajectories_are_accepted_too():
    scheduler, front_end = ready(), make_front_end(robot())
    goals = line_from(HOME, slow_step())
    goals[4:, -1] = 0.0
    arm = JointTrajectoryController(robot().joint_names, HOME[:-1])
    gripper = JointTrajectoryController(('Gripper',), [0.0])
    first = scheduler.accept(chunk_to(goals, 0.0), 0.0, HOME)
    for now, plan in ((0.0, first), (0.5, scheduler.hold(0.5)), (0.9, scheduler.hold(0.9))):
        for controller, command in zip((arm, gripper), front_end.on_plan(plan), strict=True):
            controller.accept(received(command), now)
    rest = scheduler.commanded(2.0)[0]
    assert arm.sample(2.0)[0] == pytest.approx(rest[:-1], abs=1e-6)
    assert gripper.sample(2.0)[0] == pytest.approx((1.0 - rest[-1:]) * 0.025, abs=1e-6)
