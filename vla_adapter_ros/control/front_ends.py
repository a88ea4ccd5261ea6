# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The driver's two front ends as plain data; a node turns it into messages.

`joint_trajectory`: two joint_trajectory_controllers get one trajectory per plan; a contract is all
that another robot with such controllers needs. With the section `gripper` the gripper gets goals
of an action instead of trajectories (gripper_goals.py). `joint_commands`: a driver node (of the
Alicia-D, standalone; of the Piper) gets the next position at a fixed rate. Such drivers have no
interpolation, limits or watchdog, and drive an arm joint that is missing in a message to 0 rad:
all joints are always sent.

Driver units of the gripper exist only here and in the contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vla_adapter_ros.control.grip_limit import GripLimit
from vla_adapter_ros.control.gripper_goals import GripperCancel, GripperGoal, GripperGoals
from vla_adapter_ros.motion.plan import JointPlan, MotionPlan
from vla_adapter_ros.robot import alicia_d
from vla_adapter_ros.robot.contract import RobotContract

# A controller starts a trajectory when it arrives, with a varying delay of some milliseconds.
# Through a first segment shorter than this [s] it would jerk to catch up.
FIRST_POINT_S = 0.04
# A trajectory of the gripper is sent again when its bound changed by more than this [fraction].
_BOUND_STEP = 0.01


@dataclass(frozen=True)
class TrajectoryCommand:
    """A joint trajectory: times (N,) from start [s], all > 0; positions, velocities (N, J)."""

    topic: str
    names: tuple[str, ...]
    times: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray


@dataclass(frozen=True)
class JointCommand:
    """One command of a stream: positions (J,) and speeds (J,) or (0,) in driver units."""

    topic: str
    names: tuple[str, ...]
    positions: np.ndarray
    velocities: np.ndarray


Command = TrajectoryCommand | JointCommand | GripperGoal | GripperCancel


class CommandedMotion(Protocol):
    """A motion that a streamed front end samples: of the scheduler or of teaching."""

    def commanded(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        """Return commanded position and velocity (J + 1,) in contract order."""
        ...


class FrontEnd:
    """How plans reach the driver.

    Attributes:
        rate: how often `stream` must be called [Hz]; 0: never.
    """

    rate = 0.0

    def __init__(self, contract: RobotContract) -> None:
        self._contract = contract
        self._grip = GripLimit(contract)

    def restart(self, measured: float) -> None:
        """Take the gripper's measured opening [open fraction] when motion is enabled."""
        self._grip.restart(measured)

    def observe(self, measured: float, commanded: float, now: float) -> None:
        """Take the gripper's measured and commanded opening [open fraction] at `now` [s]."""
        self._grip.observe(measured, commanded, now)

    def on_plan(self, plan: MotionPlan) -> list[Command]:
        """Return the commands to send when a plan starts."""
        return []

    def due(self, now: float) -> list[Command]:
        """Return the gripper's commands to send at this tick, beside those of the plan."""
        return []

    def stop(self, now: float) -> list[Command]:
        """Return what stops a gripper that moves beyond the plan, when motion is disabled."""
        return []

    def stream(self, motion: CommandedMotion, now: float) -> JointCommand | None:
        """Return the command to send at this tick."""
        return None


class TrajectoryFrontEnd(FrontEnd):
    """One trajectory for the arm and one for the gripper, when a plan starts."""

    def __init__(self, contract: RobotContract) -> None:
        super().__init__(contract)
        self._gripper_plan: JointPlan | None = None
        self._bound = 0.0

    def on_plan(self, plan: MotionPlan) -> list[Command]:
        """Return the arm's and the gripper's trajectory."""
        self._gripper_plan = plan.gripper
        return [self._arm(plan.arm), self._gripper(plan.gripper)]

    def due(self, now: float) -> list[Command]:
        """Return the rest of the gripper's trajectory, if a contact changed its bound."""
        if self._gripper_plan is None or abs(self._grip.lowest - self._bound) <= _BOUND_STEP:
            return []
        return [self._gripper(self._gripper_plan.remaining(now, FIRST_POINT_S))]

    def _arm(self, plan: JointPlan) -> TrajectoryCommand:
        topic, names = self._contract.front_end.arm_topic, self._contract.driver_joint_names
        return TrajectoryCommand(topic, names, *plan.points(FIRST_POINT_S))

    def _gripper(self, plan: JointPlan) -> TrajectoryCommand:
        spec = self._contract.front_end
        self._bound = self._grip.lowest
        times, fractions, rates = plan.points(FIRST_POINT_S)
        inside = fractions >= self._bound
        return TrajectoryCommand(
            spec.gripper_topic,
            self._contract.driver_names[-1:],
            times,
            spec.gripper_command(np.clip(fractions, self._bound, 1.0)),
            rates * inside * (spec.gripper_open_command - spec.gripper_closed_command),
        )


class GripperActionFrontEnd(TrajectoryFrontEnd):
    """One trajectory for the arm when a plan starts; goals of an action for the gripper."""

    def __init__(self, contract: RobotContract) -> None:
        super().__init__(contract)
        self._goals = GripperGoals(contract)

    def restart(self, measured: float) -> None:
        """Take the gripper's measured opening [open fraction] when motion is enabled."""
        super().restart(measured)
        self._goals.restart()

    def observe(self, measured: float, commanded: float, now: float) -> None:
        """Take the gripper's measured and commanded opening [open fraction] at `now` [s]."""
        super().observe(measured, commanded, now)
        self._goals.observe(measured, now)

    def on_plan(self, plan: MotionPlan) -> list[Command]:
        """Return the arm's trajectory and, if one is due, the gripper's goal."""
        return [self._arm(plan.arm), *self._goals.on_plan(plan, plan.start, self._grip.lowest)]

    def due(self, now: float) -> list[Command]:
        """Return the gripper's goal, if the motion of the plan in execution begins or ends."""
        return [*self._goals.due(now, self._grip.lowest)]

    def stop(self, now: float) -> list[Command]:
        """Return the cancellation of the gripper's goal while it moves."""
        return [*self._goals.stop(now)]


class StreamingFrontEnd(FrontEnd):
    """All joints in every message, at a fixed rate."""

    def __init__(self, contract: RobotContract) -> None:
        super().__init__(contract)
        self.rate = contract.front_end.rate
        self._max_speed = contract.max_velocity[:-1]

    def stream(self, motion: CommandedMotion, now: float) -> JointCommand:
        """Return the position of the next tick and the speed the driver may use to reach it."""
        position, velocity = motion.commanded(now + 1.0 / self.rate)
        spec = self._contract.front_end
        gripper = spec.gripper_command(np.clip(position[-1:], self._grip.lowest, 1.0))
        positions = np.concatenate((position[:-1], gripper))
        if not spec.send_speeds:
            names = self._contract.driver_names
            return JointCommand(spec.arm_topic, names, positions, np.zeros(0))
        speeds = alicia_d.stream_speeds(velocity[:-1], self._max_speed)
        # The gripper has its own speed in the driver; zero leaves the common speed alone.
        return JointCommand(
            spec.arm_topic, self._contract.driver_names, positions, np.append(speeds, 0.0)
        )


def make_front_end(contract: RobotContract) -> FrontEnd:
    """Return the front end that the contract names."""
    if contract.front_end.kind == 'joint_commands':
        return StreamingFrontEnd(contract)
    if contract.front_end.gripper is not None:
        return GripperActionFrontEnd(contract)
    return TrajectoryFrontEnd(contract)
