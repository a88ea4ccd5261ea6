# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A gripper behind an action: few goals, none after a hold, and no grip lost."""

import numpy as np
import pytest

from support.motion_helpers import HOME, changed_robot, chunk_to, line_from, ready, slow_step
from vla_adapter_ros.control.clock import Arrival
from vla_adapter_ros.control.front_ends import TrajectoryCommand, make_front_end
from vla_adapter_ros.control.gate import CommandGate
from vla_adapter_ros.control.gripper_goals import GripperCancel, GripperGoal
from vla_adapter_ros.control.safety import SafetyFilter

ACTION = {'kind': 'gripper_command', 'action': 'gripper_controller/gripper_cmd', 'max_effort': 5.0}
CONTRACT = changed_robot(
    front_end__gripper=ACTION, front_end__gripper_topic='',
    front_end__gripper_open_command=0.0, front_end__gripper_closed_command=0.8,
)  # fmt: skip
TICK = 0.02


class Bench:
    """Scheduler, front end, and a gripper that goes to its goal unless an object stops it."""

    def __init__(self, opening=1.0):
        start = np.append(HOME[:-1], opening)
        self.scheduler = ready(start, contract=CONTRACT)
        self.front_end = make_front_end(CONTRACT)
        self.now = 0.0
        self.gripper, self.goal, self.object = opening, opening, 0.0
        self.sent = []

    def take(self, commands):
        for command in commands:
            if isinstance(command, TrajectoryCommand):
                assert command.topic == CONTRACT.front_end.arm_topic
                continue
            self.sent.append(command)
            cancelled = isinstance(command, GripperCancel)
            self.goal = self.gripper if cancelled else 1.0 - command.position / 0.8

    def chunk(self, openings):
        here = self.scheduler.commanded(self.now)[0]
        goals = line_from(here, slow_step(0.01), len(openings))
        goals[:, -1] = openings
        plan = self.scheduler.accept(chunk_to(goals, self.now), self.now, here)
        assert plan is not None
        self.take(self.front_end.on_plan(plan))

    def hold(self):
        self.take(self.front_end.on_plan(self.scheduler.hold(self.now)))

    def run(self, seconds):
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            step = np.clip(self.goal - self.gripper, -2.0 * TICK, 2.0 * TICK)
            self.gripper = max(self.gripper + step, min(self.object, self.gripper))
            commanded = float(self.scheduler.commanded(self.now)[0][-1])
            self.front_end.observe(self.gripper, commanded, self.now)
            self.take(self.front_end.due(self.now))

    @property
    def positions(self):
        return [command.position for command in self.sent]


def test_a_gripper_that_stays_gets_no_goal():
    bench = Bench()
    for _ in range(10):
        bench.chunk([1.0] * 8)
        bench.run(0.4)
    assert bench.sent == []


def test_closing_over_many_chunks_is_one_goal_in_the_drivers_unit():
    bench = Bench()
    bench.chunk([1.0, 1.0, 1.0, 0.6, 0.2, 0.0, 0.0, 0.0])
    bench.run(0.2)
    assert bench.sent == []
    bench.run(0.2)
    assert bench.sent == [GripperGoal(0.8, 5.0)]
    for _ in range(10):
        bench.chunk([0.0, 0.01, 0.0, 0.02, 0.0, 0.0, 0.0, 0.0])
        bench.run(0.3)
    assert len(bench.sent) == 1


def test_a_reversal_is_a_goal_as_soon_as_it_begins():
    bench = Bench()
    bench.chunk([0.5, 0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0])
    bench.run(1.2)
    assert bench.positions == pytest.approx([0.8, 0.0], abs=0.01)
    bench.chunk([0.5] * 8)
    bench.run(1.0)
    assert bench.positions[-1] == pytest.approx(0.4, abs=0.03)


def test_a_slow_continuous_motion_is_a_handful_of_goals_not_one_a_tick():
    bench = Bench()
    opening = 1.0
    for _ in range(10):
        bench.chunk(np.clip(opening - 0.02 * np.arange(1, 9), 0.0, 1.0))
        bench.run(0.4)
        opening = max(opening - 0.08, 0.0)
    assert 3 <= len(bench.sent) <= 12
    assert np.all(np.diff(bench.positions) > 0.0)
    assert bench.gripper == pytest.approx(bench.scheduler.commanded(bench.now)[0][-1], abs=0.1)


def test_a_hold_stops_a_gripper_in_motion_and_the_next_chunk_moves_it_again():
    bench = Bench()
    bench.chunk([0.7, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    bench.run(0.2)
    bench.hold()
    assert isinstance(bench.sent[-1], GripperCancel)
    stopped = bench.gripper
    bench.run(1.0)
    assert bench.gripper == pytest.approx(stopped, abs=0.01) and len(bench.sent) == 2
    bench.chunk([0.0] * 8)
    bench.run(1.0)
    assert bench.sent[-1] == GripperGoal(0.8, 5.0)


@pytest.mark.parametrize('after', [0.1, 0.6])
def test_a_hold_right_after_a_goal_stops_the_gripper_before_it_begins(after):
    bench = Bench()
    bench.chunk([0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    bench.object = 1.0  # it does not move: the driver is slow to begin
    bench.run(after)
    bench.hold()
    assert isinstance(bench.sent[-1], GripperCancel) == (after < 0.25)


def test_a_hold_never_loosens_a_grip():
    bench = Bench()
    bench.object = 0.4
    bench.chunk([0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    bench.run(1.0)
    bench.hold()
    bench.run(1.0)
    assert bench.sent == [GripperGoal(0.8, 5.0)]
    # Goes on closed: nothing to send. Opens when asked.
    bench.chunk([0.0] * 8)
    bench.run(0.8)
    assert len(bench.sent) == 1
    bench.chunk([0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    bench.run(0.8)
    assert bench.positions == pytest.approx([0.8, 0.0])


@pytest.mark.parametrize('opened', [False, True])
def test_after_enabling_again_goals_begin_where_the_gripper_is(opened):
    bench = Bench()
    bench.object = 0.4
    bench.chunk([0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    bench.run(1.0)
    bench.hold()
    if opened:
        # By someone else, while motion was disabled.
        bench.object, bench.gripper, bench.goal = 0.0, 1.0, 1.0
        bench.scheduler.reset(np.append(HOME[:-1], 1.0), bench.now)
    bench.front_end.restart(bench.gripper)
    bench.chunk([0.0] * 8)
    bench.run(1.0)
    assert len(bench.sent) == (2 if opened else 1)
    assert bench.gripper == pytest.approx(0.0 if opened else 0.4)


def test_a_stop_reaches_a_gripper_that_still_moves_when_the_plan_rests():
    class Sent(list):
        send, plan = list.append, lambda self, plan: None

    sent, here, now = Sent(), np.append(HOME[:-1], 1.0), 10.0
    scheduler = ready(here, contract=CONTRACT, now=now)
    gate = CommandGate(CONTRACT, scheduler, SafetyFilter(CONTRACT), sent)
    gate.observe(here, Arrival(now, 0.0, now))
    gate.engage(here, now)
    goals = np.tile(here, (8, 1))
    goals[:, -1] = 0.0
    assert gate.follow(chunk_to(goals, now), now, here) is not None
    while scheduler.moving(now):
        now += TICK
        assert gate.tick(now) == ''
        # A slow gripper: 0.3 of its travel in a second.
        state = np.append(here[:-1], 1.0 - 0.3 * (now - 10.0))
        gate.observe(state, Arrival(now, 0.0, now))
    gate.stop(now)
    gripper = [c for c in sent if not isinstance(c, TrajectoryCommand)]
    assert gripper == [GripperGoal(0.8, 5.0), GripperCancel()]


def test_the_arm_gets_its_trajectories_as_without_the_action():
    bench = Bench()
    here = bench.scheduler.commanded(0.0)[0]
    plan = bench.scheduler.accept(chunk_to(line_from(here, slow_step()), 0.0), 0.0, here)
    commands = bench.front_end.on_plan(plan)
    assert [c.names for c in commands] == [CONTRACT.joint_names]
