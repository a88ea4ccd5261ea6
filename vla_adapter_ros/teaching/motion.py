# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Teaching: goals from keys, a gamepad or a leader arm become limited motion.

Goals pass through the same gate (control/gate.py) as a policy's actions, so that a policy can do
all that was taught, within the same limits and supervision. No ROS here; time is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vla_adapter_ros.control.clock import Arrival
from vla_adapter_ros.control.gate import CommandGate, Driver
from vla_adapter_ros.control.plausibility import PlausibilityMonitor
from vla_adapter_ros.control.safety import SafetyFilter
from vla_adapter_ros.errors import ObservationError, VLAAdapterError
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.motion.scheduler import ChunkScheduler
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.joint_state import JointStateReader
from vla_adapter_ros.robot.kinematics import Kinematics, KinematicsError

# Time in which a goal is to be reached if the limits allow [s].
_REACH = 0.1
# A leader's motion is extrapolated over this many such times, or the arm would lag behind it.
_LOOK_AHEAD = 2
# A goal may run ahead of the arm by at most this [rad]; keys repeat faster than an arm moves.
_LEAD = 0.25
# A small tool step that moves a joint by more than this is near a singularity [rad].
_MAX_JOINT_STEP = 0.5
# A tick so long after the last was kept from running: joint states may wait that nobody has read,
# and the driver may have been kept from sending them. For so long they are waited for [s].
_LATE_TICK, _LATE_STATES = 0.2, 0.1


class TeachMotion:
    """Turns goals into motion.

    Args:
        contract: the robot.
        driver: takes the commands.
        kinematics: for tool steps and the workspace box.
        speed: fraction of the contract's velocities, 0..1.
    """

    def __init__(
        self,
        contract: RobotContract,
        driver: Driver,
        kinematics: Kinematics | None = None,
        speed: float = 0.3,
    ) -> None:
        self.contract = teaching_contract(contract, speed)
        self._kinematics = kinematics
        self._safety = SafetyFilter(self.contract, kinematics)
        self._scheduler = ChunkScheduler(self.contract, safety=self._safety)
        self._gate = CommandGate(self.contract, self._scheduler, self._safety, driver)
        self._reader = JointStateReader(contract)
        self._monitor = PlausibilityMonitor(contract)
        self._goal: np.ndarray | None = None
        self._drift = np.zeros(contract.action_dim)
        self._sent: np.ndarray | None = None
        self._ticked = self._stale_until = math.inf
        self.measured: np.ndarray | None = None
        self.refusal = ''

    # -- state ------------------------------------------------------------------------------

    def observe(self, names: Sequence[str], positions: Sequence[float], now: float) -> None:
        """Take a joint state; trips if it is not plausible while the arm is commanded."""
        commanded = self._gate.expected(now)
        try:
            reading = self._reader.receive(names, positions, now, now)
        except ObservationError as error:
            self._monitor.reject(str(error), now)
            self._gate.lose(now)
            return
        if reading is None:
            return
        self.measured = reading.state
        fault = self._monitor.observe(reading.state, now, commanded)
        if self._monitor.trusted:
            self._gate.observe(reading.state, Arrival(now, 0.0, now))
        else:
            self._gate.lose(now, confirm=self._monitor.jumped)
        if fault and self.engaged:
            self._trip(fault, now)

    def problem(self, now: float) -> str:
        """Return why the arm must not be moved, or ''."""
        return (
            self._safety.trip_reason or self._reader.missing(now) or self._monitor.reason(now)
        )

    @property
    def engaged(self) -> bool:
        """Whether the arm is being commanded."""
        return self._goal is not None

    @property
    def tripped(self) -> str:
        """Why the arm was stopped for good while it was commanded; '' if it was not."""
        return self._safety.trip_reason

    @property
    def astray(self) -> bool:
        """Whether the arm was measured where it was not commanded to be."""
        return self._gate.astray

    def commanded(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        """Return commanded position and velocity (J + 1,) at `now`."""
        return self._scheduler.commanded(now)

    # -- requests ---------------------------------------------------------------------------

    def engage(self, now: float) -> None:
        """Command the arm from where it is. Raises VLAAdapterError if it must not be moved."""
        if problem := self.problem(now):
            raise VLAAdapterError(f'not engaged: {problem}')
        if self._gate.stopping(now):
            raise VLAAdapterError('not engaged: the arm is still stopping; try again')
        assert self.measured is not None
        self._gate.engage(self.measured, now)
        self._set_goal(self.commanded(now)[0])
        self._sent = None

    def release(self, now: float) -> None:
        """Stop and drop the goal; nothing is commanded until the arm is engaged again."""
        self._gate.stop(now)
        self._goal, self._sent = None, None

    def close(self, now: float) -> None:
        """Stop, at once: nobody will call `tick` any more."""
        self.release(now)
        self._gate.finish(now)

    def clear(self, now: float) -> str:
        """Clear a trip; returns its reason."""
        self.release(now)
        self._monitor.reset()
        return self._safety.clear()

    def jog_joint(self, joint: int, step: float, now: float) -> None:
        """Move the goal of one joint by `step` [rad], at most `_LEAD` ahead of the arm."""
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
        offset = np.concatenate((translation, rotation))[None]
        try:
            joints = self._kinematics.solve_deltas(goal[:-1], offset)[0]
        except KinematicsError:
            raise VLAAdapterError('the tool cannot be moved farther in this direction') from None
        here = self._scheduler.commanded(now)[0][:-1]
        if (step := float(np.abs(joints - goal[:-1]).max())) > _MAX_JOINT_STEP:
            raise VLAAdapterError(
                f'this step would move a joint by {step:.2f} rad: the arm is stretched or folded'
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
        """Follow a leader to (J + 1,) in contract order; a distant target is approached slowly.

        Args:
            target: position of the leader.
            velocity: of the leader, per second; None: it stands still.
        """
        self._require_goal()
        self._set_goal(np.asarray(target, dtype=float), velocity)

    def hold(self, now: float) -> None:
        """Stop as fast as the limits allow and stay engaged."""
        if not self.engaged:
            return
        self._gate.brake(now)
        plan = self._scheduler.plan
        self._set_goal(plan.sample(plan.end)[0])
        self._sent = np.tile(self._goal, (_LOOK_AHEAD, 1))

    # -- commands ---------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Watch the arm and move on towards the goal; call at a steady rate."""
        if self._gate.pause(now):
            # A stream that paused let the arm stop before the goal.
            self._sent = None
        if self._waits_for_states(now):
            return
        if self.engaged and (problem := self.problem(now)):
            if self._monitor.stale(now):
                self._gate.miss(now)
            self._trip(problem, now)
        if fault := self._gate.tick(now):
            self._trip(fault, now)
        self.refusal = ''
        if self._gate.engaged:
            self._move_on(now)

    def _waits_for_states(self, now: float) -> bool:
        """Return whether states are stale for a pause of this process only, as far as is known."""
        late, self._ticked = now - self._ticked > _LATE_TICK, now
        if not self._monitor.stale(now):
            self._stale_until = math.inf
            return False
        if late and self._stale_until == math.inf:
            self._stale_until = now + _LATE_STATES
        return now < self._stale_until < math.inf

    def stream(self, now: float) -> None:
        """Send the next command of a streamed front end, if it is due."""
        self._gate.stream(now)

    def fail(self, reason: str, now: float) -> None:
        """Trip for a fault found elsewhere, if the arm is engaged."""
        if self.engaged:
            self._trip(reason, now)

    def _trip(self, reason: str, now: float) -> None:
        self._safety.trip(reason)
        self._gate.stop(now)

    def _move_on(self, now: float) -> None:
        if waiting := self._gate.waiting:
            # The way to the goal begins anew where the arm is.
            self.refusal, self._sent = waiting, None
            return
        assert self._goal is not None
        ahead = _REACH * np.arange(1, _LOOK_AHEAD + 1)[:, None] * self._drift
        targets = np.clip(self._goal + ahead, self.contract.lower, self.contract.upper)
        if self._sent is not None and np.array_equal(targets, self._sent):
            return
        chunk = ActionChunk(targets, now, _REACH, '')
        if self._gate.follow(chunk, now, self.commanded(now)[0]) is not None:
            self._sent = targets
        else:
            self.refusal = self._gate.refusal

    def _require_goal(self) -> np.ndarray:
        if self._goal is None:
            raise VLAAdapterError('the arm is not engaged')
        return self._goal

    def _require_inside(self, goal: np.ndarray) -> None:
        """Refuse a goal whose tool is farther outside the workspace than the current goal's."""
        if self._kinematics is None:
            return
        points = self._kinematics.tool_positions(np.vstack((self._require_goal()[:-1], goal[:-1])))
        before, after = self.contract.distance_outside_workspace(points)
        if after > before + 1e-4:
            raise VLAAdapterError('the tool would leave the workspace of the robot contract')

    def _set_goal(self, goal: np.ndarray, velocity: np.ndarray | None = None) -> None:
        self._goal = np.clip(goal, self.contract.lower, self.contract.upper)
        self._drift = np.zeros(len(goal)) if velocity is None else np.asarray(velocity, float)


def teaching_contract(contract: RobotContract, speed: float) -> RobotContract:
    """Return the contract with joint positions as actions and scaled velocities of the arm."""
    joints = tuple(replace(j, max_velocity=j.max_velocity * speed) for j in contract.joints)
    return replace(contract, joints=joints, action_space='joint_position')
