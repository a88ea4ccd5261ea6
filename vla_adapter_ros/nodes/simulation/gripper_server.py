# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Server of a gripper action, emulated, as ros2_controllers' GripperActionController behaves.

A new goal replaces the one in execution, a cancelled gripper stays where it is, a goal that an
object stops ends as stalled, and the gripper keeps pressing towards it.
"""

from __future__ import annotations

from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.node import Node
from rclpy.task import Future

from vla_adapter_ros.nodes.common.gripper_action import gripper_action_type
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.simulation.servo_gripper import ServoGripper


class GripperServer:
    """Moves a `ServoGripper`; call `tick` after each of its steps.

    Args:
        node: owns the server.
        contract: with the section `front_end.gripper`.
        gripper: what moves.

    Attributes:
        goals: positions of all goals so far, in the driver's unit.
    """

    def __init__(self, node: Node, contract: RobotContract, gripper: ServoGripper) -> None:
        spec = contract.front_end.gripper
        assert spec is not None
        self._contract, self._gripper = contract, gripper
        self._type = gripper_action_type(spec.kind)
        self._in_execution: Future | None = None
        self._handle: Any = None
        self.goals: list[float] = []
        self._server = ActionServer(
            node, self._type, spec.action, self._execute,
            cancel_callback=lambda handle: CancelResponse.ACCEPT,
        )  # fmt: skip

    def tick(self) -> None:
        """End the goal in execution if it was cancelled, or the gripper arrived or is stalled."""
        if self._in_execution is None:
            return
        if self._handle.is_cancel_requested:
            self._gripper.stop()
            self._end('cancelled')
        elif self._gripper.reached or self._gripper.stalled:
            self._end('done')

    def _end(self, how: str) -> None:
        future, self._in_execution = self._in_execution, None
        if future is not None and not future.done():
            future.set_result(how)

    async def _execute(self, handle: Any) -> Any:
        self._end('replaced')
        command = handle.request.command
        position = command.position
        position = float(position if isinstance(position, float) else position[0])
        self.goals.append(position)
        self._gripper.go(self._contract.front_end.gripper_fraction(position))
        self._in_execution = future = Future()
        self._handle = handle
        how = await future
        if how == 'replaced':
            handle.abort()
        elif how == 'cancelled':
            handle.canceled()
        else:
            handle.succeed()
        result = self._type.Result()
        result.stalled, result.reached_goal = self._gripper.stalled, self._gripper.reached
        return result
