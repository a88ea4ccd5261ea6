# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The driver's two front ends as plain data; a node turns it into messages.

`joint_trajectory`: two joint_trajectory_controllers get one trajectory per plan; a contract is all
that another robot with such controllers needs. `joint_commands`: the Alicia-D's standalone driver
node gets the next position at a fixed rate. It has no interpolation, limits or watchdog, and
drives an arm joint that is missing in a message to 0 rad: all joints are always sent.

Driver units of the gripper exist only here and in the contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vla_adapter_ros.motion.plan import JointPlan, MotionPlan
from vla_adapter_ros.robot import alicia_d
from vla_adapter_ros.robot.contract import RobotContract

# A controller starts a trajectory when it arrives, with a varying delay of some milliseconds.
# Through a first segment shorter than this [s] it would jerk to catch up.
FIRST_POINT_S = 0.04


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
    """One command of a stream: positions and speeds (J,) in driver units."""

    topic: str
    names: tuple[str, ...]
    positions: np.ndarray
    velocities: np.ndarray


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

    def on_plan(self, plan: MotionPlan) -> list[TrajectoryCommand]:
        """Return the commands to send when a plan starts."""
        return []

    def stream(self, motion: CommandedMotion, now: float) -> JointCommand | None:
        """Return the command to send at this tick."""
        return None


class TrajectoryFrontEnd(FrontEnd):
    """One trajectory for the arm and one for the gripper, when a plan starts."""

    def on_plan(self, plan: MotionPlan) -> list[TrajectoryCommand]:
        """Return the arm's and the gripper's trajectory."""
        topic, names = self._contract.front_end.arm_topic, self._contract.joint_names
        arm = TrajectoryCommand(topic, names, *plan.arm.points(FIRST_POINT_S))
        return [arm, self._gripper(plan.gripper)]

    def _gripper(self, plan: JointPlan) -> TrajectoryCommand:
        spec = self._contract.front_end
        times, fractions, rates = plan.points(FIRST_POINT_S)
        return TrajectoryCommand(
            spec.gripper_topic,
            (self._contract.gripper.name,),
            times,
            spec.gripper_command(np.clip(fractions, 0.0, 1.0)),
            rates * (spec.gripper_open_command - spec.gripper_closed_command),
        )


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
        gripper = spec.gripper_command(np.clip(position[-1:], 0.0, 1.0))
        speeds = alicia_d.stream_speeds(velocity[:-1], self._max_speed)
        # The gripper has its own speed in the driver; zero leaves the common speed alone.
        return JointCommand(
            spec.arm_topic,
            self._contract.names,
            np.concatenate((position[:-1], gripper)),
            np.append(speeds, 0.0),
        )


def make_front_end(contract: RobotContract) -> FrontEnd:
    """Return the front end that the contract names."""
    if contract.front_end.kind == 'joint_commands':
        return StreamingFrontEnd(contract)
    return TrajectoryFrontEnd(contract)
