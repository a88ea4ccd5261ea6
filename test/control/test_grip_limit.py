# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Grippers that hold by position alone: pressed a little beyond the contact, and never opened."""

import numpy as np
import pytest

from support.motion_helpers import HOME, changed_robot, chunk_to, line_from, ready, slow_step
from vla_adapter_ros.control.front_ends import make_front_end
from vla_adapter_ros.control.grip_limit import GripLimit, resumed_opening

BEYOND = 0.1
TICK = 0.02


class ServoGripper:
    """Goes to its command at a speed, after a delay; an object stops it at an opening."""

    def __init__(self, opening, speed=2.0, thing=0.0):
        self.opening, self.speed, self.thing = opening, speed, thing

    def step(self, command):
        change = np.clip(command - self.opening, -self.speed * TICK, self.speed * TICK)
        self.opening = max(self.opening + change, min(self.thing, self.opening))


def closed_on(limit, gripper, seconds, command=0.0, now=0.0):
    """Run the gripper below the limit; returns what it was commanded at each tick."""
    commands = []
    for _ in range(round(seconds / TICK)):
        now += TICK
        commands.append(max(command, limit.lowest))
        gripper.step(commands[-1])
        limit.observe(gripper.opening, command, now)
    return np.array(commands)


def limit(beyond=BEYOND):
    return GripLimit(changed_robot(gripper__grip_beyond_contact=beyond))


@pytest.mark.parametrize('thing', [0.2, 0.5, 0.8])
def test_the_command_stays_a_little_beyond_the_contact(thing):
    bound, gripper = limit(), ServoGripper(1.0, thing=thing)
    commands = closed_on(bound, gripper, 3.0)
    assert commands[-1] == pytest.approx(thing - BEYOND, abs=1e-6)
    # It presses at full command for the time that a stall takes to be sure, not longer.
    assert (commands < thing - BEYOND - 1e-6).sum() * TICK <= 0.5 + (1.0 - thing) / 2.0


def test_without_the_contract_value_or_without_an_object_nothing_is_bounded():
    assert closed_on(limit(0.0), ServoGripper(1.0, thing=0.5), 2.0)[-1] == 0.0
    bound, gripper = limit(), ServoGripper(1.0, speed=0.3)
    assert closed_on(bound, gripper, 4.0).max() == 0.0
    assert gripper.opening == pytest.approx(0.0)


def test_a_soft_object_is_followed_and_a_gripper_that_began_late_closes_all_the_same():
    bound, gripper = limit(), ServoGripper(1.0, thing=0.6)
    closed_on(bound, gripper, 1.5)
    gripper.thing = 0.5
    assert closed_on(bound, gripper, 1.0, now=2.0)[-1] == pytest.approx(0.4, abs=1e-6)
    late = limit()
    stuck = ServoGripper(1.0, thing=1.0)
    closed_on(late, stuck, 0.6)
    stuck.thing = 0.0
    closed_on(late, stuck, 2.0, now=0.6)
    assert stuck.opening == pytest.approx(0.0, abs=1e-6)


def test_opening_ends_the_bound_and_the_next_object_is_another_contact():
    bound, gripper = limit(), ServoGripper(1.0, thing=0.5)
    closed_on(bound, gripper, 1.5)
    assert bound.lowest == pytest.approx(0.4)
    closed_on(bound, gripper, 1.0, command=1.0, now=2.0)
    assert bound.lowest == 0.0 and gripper.opening == pytest.approx(1.0)
    gripper.thing = 0.2
    assert closed_on(bound, gripper, 1.5, now=4.0)[-1] == pytest.approx(0.1)


@pytest.mark.parametrize(('now_at', 'lowest'), [(0.5, 0.4), (1.0, 0.0)])
def test_after_enabling_again_a_contact_counts_only_if_the_gripper_is_still_there(now_at, lowest):
    bound, gripper = limit(), ServoGripper(1.0, thing=0.5)
    closed_on(bound, gripper, 1.5)
    bound.restart(now_at)
    assert bound.lowest == pytest.approx(lowest)


@pytest.mark.parametrize('name', ['alicia_d', 'alicia_d_standalone', 'action'])
def test_every_front_end_commands_no_farther_than_the_bound(name):
    topic = {'front_end__gripper_topic': ''}
    changes = {
        'alicia_d': {},
        'alicia_d_standalone': {
            'front_end__kind': 'joint_commands', 'front_end__gripper_open_command': 1.0,
            'front_end__gripper_closed_command': 0.0, **topic,
        },
        'action': {
            'front_end__gripper': {'kind': 'gripper_command', 'action': 'g/cmd'}, **topic,
        },
    }[name]  # fmt: skip
    contract = changed_robot(gripper__grip_beyond_contact=BEYOND, **changes)
    scheduler = ready(HOME, contract=contract)
    front_end = make_front_end(contract)
    goals = line_from(HOME, slow_step(0.01))
    goals[:, -1] = 0.0
    commands = front_end.on_plan(scheduler.accept(chunk_to(goals, 0.0), 0.0, HOME))
    gripper = ServoGripper(1.0, thing=0.5)
    for now in np.arange(TICK, 2.0, TICK):
        commanded = float(scheduler.commanded(now)[0][-1])
        gripper.step(commanded)
        front_end.observe(gripper.opening, commanded, now)
        commands += front_end.due(now)
        if front_end.rate:
            commands = [front_end.stream(scheduler, now)]
    spec = contract.front_end
    last = commands[-1]
    value = last.position if name == 'action' else np.asarray(last.positions)[..., -1].ravel()[-1]
    assert spec.gripper_fraction(value) == pytest.approx(0.4, abs=1e-6)
    # Not one command a tick: the bound is sent once.
    assert len(commands) <= 4


@pytest.mark.parametrize(
    ('held', 'measured', 'left', 'beyond', 'expected'),
    [
        (0.0, 0.4, 0.4, 0.0, 0.0),  # holds an object: as before
        (1.0, 1.0, 1.0, 0.1, 1.0),
        (1.0, 0.3, 1.0, 0.0, 0.3),  # closed by someone: never opened
        (1.0, 0.3, 1.0, 0.1, 0.2),
        (0.0, 0.9, 0.4, 0.0, 0.9),  # opened by someone: does not snap shut
        (1.0, 0.3, None, 0.1, 0.2),
        (1.0, 0.05, 1.0, 0.1, 0.0),
    ],
)  # fmt: skip
def test_resuming_never_opens_a_gripper_and_keeps_a_grip(held, measured, left, beyond, expected):
    assert resumed_opening(held, measured, left, beyond) == pytest.approx(expected)
