# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A person moves the arm: goals from keys, a gamepad or a leader arm become limited motion.

Goals take the way of a policy's actions (scheduler, safety filter, front end), so that what was
taught is what a policy can do, inside the same limits. No ROS here; time is passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from vla_adapter_ros.control.plausibility import PlausibilityMonitor
from vla_adapter_ros.control.safety import SafetyFilter
from vla_adapter_ros.errors import ObservationError, VLAAdapterError
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.motion.motion_plan import MotionPlan
from vla_adapter_ros.motion.scheduler import ChunkScheduler
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.joint_state import JointStateReader

# Time in which a goal is to be reached if the limits allow [s].
_REACH = 0.1
# A leader's motion is extrapolated over this many such times, or the arm would lag behind it.
_LOOK_AHEAD = 2
# A goal may run ahead of the arm by at most this [rad]; keys repeat faster than an arm moves.
_LEAD = 0.25
# A small tool step that turns a joint by more than this is near a singularity [rad].
_LARGEST_TURN = 0.5
# A tool step that inverse kinematics misses by more than this cannot be reached [m].
_TOOL_ERROR = 2e-3


class ToolKinematics(Protocol):
    """What tool jogging needs (kinematics.py)."""

    def tool_pose(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return position (3,) [m] and rotation (3, 3) of the tool."""
        ...

    def solve(
        self, position: np.ndarray, rotation: np.ndarray, start: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Return joints near `start` for a tool pose, and the remaining error [m]."""
        ...

    def tool_positions(self, joints: np.ndarray) -> np.ndarray:
        """Return the tool's positions (N, 3) [m] for joints (N, J)."""
        ...


class TeachMotion:
    """Turns goals into plans.

    Args:
        contract: the robot.
        kinematics: for tool steps and the workspace box.
        speed: share of the contract's velocities, 0..1.
    """

    def __init__(
        self,
        contract: RobotContract,
        kinematics: ToolKinematics | None = None,
        speed: float = 0.3,
    ) -> None:
        self.contract = slowed(contract, speed)
        self._kinematics = kinematics
        self._safety = SafetyFilter(self.contract, kinematics=kinematics)
        self._scheduler = ChunkScheduler(self.contract, safety=self._safety)
        self._reader = JointStateReader(contract)
        self._monitor = PlausibilityMonitor(contract)
        self._goal: np.ndarray | None = None
        self._drift = np.zeros(contract.action_dim)
        self._sent: np.ndarray | None = None
        self.measured: np.ndarray | None = None
        self.refusal = ''

    # -- what is known ----------------------------------------------------------------------

    def observe(self, names: Sequence[str], positions: Sequence[float], now: float) -> None:
        """Take a joint state; trips if it cannot be believed while the arm is commanded."""
        commanded = self._scheduler.commanded(now)[0] if self.engaged else None
        try:
            state = self._reader.read(names, positions)
        except ObservationError as error:
            self._monitor.reject(str(error), now)
            return
        self.measured = state
        if (fault := self._monitor.observe(state, now, commanded)) and self.engaged:
            self._safety.trip(fault)

    def problem(self, now: float) -> str:
        """Return why the arm must not be moved, or ''."""
        return self._safety.trip_reason or self._monitor.reason(now)

    @property
    def engaged(self) -> bool:
        """Whether the arm is being commanded."""
        return self._goal is not None

    def commanded(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        """Return commanded position and velocity (J + 1,) at `now`."""
        return self._scheduler.commanded(now)

    # -- what a person asks for ---------------------------------------------------------------

    def engage(self, now: float) -> None:
        """Take the arm over where it stands. Raises VLAAdapterError if it must not be moved."""
        if problem := self.problem(now):
            raise VLAAdapterError(f'not engaged: {problem}')
        assert self.measured is not None
        start = np.clip(self.measured, self.contract.lower, self.contract.upper)
        self._scheduler.reset(self.measured, now)
        self._set_goal(start)
        self._sent = None

    def release(self) -> None:
        """Forget the goal; nothing is commanded until the arm is engaged again."""
        self._goal, self._sent = None, None

    def clear(self) -> str:
        """Clear a trip; returns what it was."""
        self.release()
        self._monitor.reset()
        return self._safety.clear()

    def jog_joint(self, joint: int, step: float, now: float) -> None:
        """Move the goal of one joint by `step` [rad], at most a little ahead of the arm."""
        goal = self._require_goal().copy()
        here = self._scheduler.commanded(now)[0]
        goal[joint] = np.clip(goal[joint] + step, here[joint] - _LEAD, here[joint] + _LEAD)
        self._require_inside(goal)
        self._set_goal(goal)

    def jog_tool(self, translation: np.ndarray, rotation: np.ndarray, now: float) -> None:
        """Move the tool's goal by a translation [m] and rotation vector [rad], base frame.

        Raises:
            VLAAdapterError: no kinematics, or the pose cannot be reached.
        """
        if self._kinematics is None:
            raise VLAAdapterError('tool steps need the key kinematics in the robot contract')
        goal = self._require_goal().copy()
        position, direction = self._kinematics.tool_pose(goal[:-1])
        joints, error = self._kinematics.solve(
            position + translation, rotation_matrix(rotation) @ direction, goal[:-1]
        )
        here = self._scheduler.commanded(now)[0][:-1]
        if error > _TOOL_ERROR:
            raise VLAAdapterError('the tool cannot be moved farther in this direction')
        if (turn := float(np.abs(joints - goal[:-1]).max())) > _LARGEST_TURN:
            raise VLAAdapterError(
                f'this step would turn a joint by {turn:.2f} rad: the arm is stretched or folded'
                f' (singular); move a joint instead'
            )
        if np.abs(goal[:-1] - here).max() > _LEAD:
            return  # keys repeat faster than the arm moves: it has to catch up first
        goal[:-1] = joints
        self._require_inside(goal)
        self._set_goal(goal)

    def set_gripper(self, fraction: float) -> None:
        """Set the goal of the gripper, 0 closed … 1 open."""
        goal = self._require_goal().copy()
        goal[-1] = fraction
        self._set_goal(goal)

    def follow(self, target: np.ndarray, velocity: np.ndarray | None = None) -> None:
        """Follow a leader to (J + 1,) in contract order; a distant one is approached slowly.

        Args:
            target: where the leader is.
            velocity: how it moves, per second; None: it stands.
        """
        self._require_goal()
        self._set_goal(np.asarray(target, dtype=float), velocity)

    def hold(self, now: float) -> MotionPlan | None:
        """Stop as fast as the limits allow and stay; returns the plan to send."""
        if not self.engaged:
            return None
        plan = self._scheduler.hold(now)
        self._set_goal(plan.sample(plan.end)[0])
        self._sent = np.tile(self._goal, (_LOOK_AHEAD, 1))
        return plan

    # -- what is commanded ------------------------------------------------------------------

    def tick(self, now: float) -> MotionPlan | None:
        """Return a new plan to send, or None if there is nothing new; call at a steady rate."""
        if not self.engaged:
            return None
        if self._safety.tripped or self._monitor.reason(now):
            self._safety.trip(self._monitor.reason(now) or self._safety.trip_reason)
            plan = None if self._scheduler.holding else self._scheduler.hold(now)
            return plan
        if self._scheduler.update(now):
            # A stream that paused let the arm stop on its way: the goal is still to be reached.
            self._sent = None
        assert self._goal is not None
        ahead = _REACH * np.arange(1, _LOOK_AHEAD + 1)[:, None] * self._drift
        targets = np.clip(self._goal + ahead, self.contract.lower, self.contract.upper)
        if self._sent is not None and np.array_equal(targets, self._sent):
            return None
        chunk = ActionChunk(targets, now, _REACH, '')
        plan = self._scheduler.accept(chunk, now, self.commanded(now)[0])
        self.refusal = self._scheduler.last_refusal if plan is None else ''
        if plan is not None:
            self._sent = targets
        return plan

    def _require_goal(self) -> np.ndarray:
        if self._goal is None:
            raise VLAAdapterError('the arm is not engaged')
        return self._goal

    def _require_inside(self, goal: np.ndarray) -> None:
        """Refuse a goal whose tool is farther outside the workspace than the goal before it."""
        box = self.contract.workspace
        if box is None or self._kinematics is None:
            return
        low, high = (np.array(corner) for corner in box)
        points = self._kinematics.tool_positions(np.vstack((self._require_goal()[:-1], goal[:-1])))
        before, after = np.linalg.norm(points - np.clip(points, low, high), axis=1)
        if after > before + 1e-4:
            raise VLAAdapterError('the tool would leave the workspace of the robot contract')

    def _set_goal(self, goal: np.ndarray, velocity: np.ndarray | None = None) -> None:
        self._goal = np.clip(goal, self.contract.lower, self.contract.upper)
        self._drift = np.zeros(len(goal)) if velocity is None else np.asarray(velocity, float)


def slowed(contract: RobotContract, speed: float) -> RobotContract:
    """Return the contract with joint positions as actions and a share of the arm's velocities."""
    joints = tuple(replace(j, max_velocity=j.max_velocity * speed) for j in contract.joints)
    return replace(contract, joints=joints, action_space='joint_position')


def rotation_matrix(vector: np.ndarray) -> np.ndarray:
    """Return the (3, 3) rotation of a rotation vector [rad]."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = np.asarray(vector) / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
