# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Section `front_end.gripper` of a contract: a gripper that is commanded through an action.

Most grippers beside the Alicia-D's are: `GripperActionController` of ros2_controllers (Robotiq,
SO-101), and the gripper servers of xArm and Franka. Without this section the gripper gets
trajectories, as the arm does.
"""

from __future__ import annotations

from dataclasses import dataclass

from vla_adapter_ros.robot.sections import Section

# control_msgs/action/GripperCommand, and ParallelGripperCommand of ROS 2 Jazzy and later.
GRIPPER_ACTIONS = ('gripper_command', 'parallel_gripper_command')


@dataclass(frozen=True)
class GripperActionSpec:
    """The action that moves the gripper.

    Attributes:
        kind: `gripper_command` or `parallel_gripper_command`.
        action: name of the action.
        max_effort: force or torque limit of every goal, in the driver's unit; 0: the driver's own.
    """

    kind: str
    action: str
    max_effort: float

    @property
    def status_topic(self) -> str:
        """Topic that only a server of the action publishes."""
        return f'{self.action}/_action/status'

    @property
    def goals_topic(self) -> str:
        """Topic on which our nodes repeat their goals, as trajectories, for recordings."""
        return f'{self.action}/goals'


def parse_gripper_action(section: Section | None) -> GripperActionSpec | None:
    """Read the section. Raises ContractError."""
    if section is None:
        return None
    spec = GripperActionSpec(
        kind=section.text('kind', choices=GRIPPER_ACTIONS),
        action=section.text('action'),
        max_effort=section.number('max_effort', 0.0),
    )
    if spec.max_effort < 0.0:
        raise section.fail('max_effort', "expected 0 (the driver's own limit) or more")
    section.finish()
    return spec
