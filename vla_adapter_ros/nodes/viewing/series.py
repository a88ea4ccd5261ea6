# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Where joints are found in the messages of a robot, for viewers that plot fields of topics."""

from __future__ import annotations

from dataclasses import dataclass

from vla_adapter_ros.robot.contract import RobotContract


@dataclass(frozen=True)
class Series:
    """The fields that show one joint or the gripper.

    Attributes:
        name: in the contract.
        driver_name: in joint states.
        index: in joint states whose order is the contract's, and in a row of a chunk.
        command_topic: relative; '' if no message carries its command.
        command_index: its place in a message on that topic.
        trajectory: whether that is a trajectory, else a joint state.
    """

    name: str
    driver_name: str
    index: int
    command_topic: str
    command_index: int
    trajectory: bool


def joint_series(contract: RobotContract) -> list[Series]:
    """Return the series of the arm's joints and of the gripper, in contract order."""
    front_end = contract.front_end
    trajectory = front_end.kind == 'joint_trajectory'
    names = list(zip(contract.names, contract.driver_names, strict=True))
    found = [
        Series(name, driver_name, i, front_end.arm_topic, i, trajectory)
        for i, (name, driver_name) in enumerate(names[:-1])
    ]
    last = len(found)
    gripper, place = front_end.recorded_gripper_topic, 0
    if not trajectory:
        # One message has the arm and the gripper.
        gripper, place = front_end.arm_topic, last
    found.append(Series(*names[-1], last, gripper, place, trajectory))
    return found
