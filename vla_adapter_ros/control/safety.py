# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The safety filter: clamps the targets of a policy with a reason, or trips.

A trip latches: the gate (gate.py) holds the arm until `clear`. Limits are those of the
contract; the scheduler keeps velocity and acceleration by stretching time, and they are checked
here again on the finished plan.
"""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.motion.hermite import position_bounds, segment_peaks
from vla_adapter_ros.motion.plan import JointPlan, MotionPlan
from vla_adapter_ros.motion.plan_check import CLAMPED, OK, TRIP, Verdict
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.kinematics import Kinematics

# Rounding allowed in the check of a finished plan [rad, or a fraction of a limit].
_PLAN_TOLERANCE = 1e-3
# Tool positions checked per segment of a plan.
_WORKSPACE_SAMPLES = 4


class SafetyFilter:
    """Checks targets and plans against the contract; counts per joint; latches trips.

    Args:
        contract: limits, workspace, and how strict (`supervision`).
        kinematics: for the workspace box; without it the box is not checked.
    """

    def __init__(
        self, contract: RobotContract, kinematics: Kinematics | None = None
    ) -> None:
        self._contract = contract
        self._bounds = contract.supervision
        step = contract.max_velocity[:-1] * contract.step_period
        self._max_step = np.maximum(self._bounds.max_step, 3.0 * step)
        self._start_tolerance = np.maximum(self._bounds.start_tolerance, 2.0 * step)
        self._kinematics = kinematics if contract.workspace is not None else None
        self.limit_clamps = np.zeros(contract.action_dim, dtype=int)
        self.step_clamps = np.zeros(contract.action_dim, dtype=int)
        self._gross_chunks = 0
        self._trip_reason = ''
        # The plan that was checked last and is good: it is checked when it is made and when it
        # leaves.
        self._passed: MotionPlan | None = None

    # -- the latch --------------------------------------------------------------------------

    @property
    def tripped(self) -> bool:
        """Whether motion is forbidden until `clear`."""
        return bool(self._trip_reason)

    @property
    def trip_reason(self) -> str:
        """Reason of the first trip; later trips do not replace it."""
        return self._trip_reason

    def trip(self, reason: str) -> Verdict:
        """Latch a trip, also for causes found elsewhere (joint states, worker)."""
        if not self._trip_reason:
            self._trip_reason = reason
        return Verdict(TRIP, (self._trip_reason,))

    def clear(self) -> str:
        """Allow motion again; returns the cleared reason, '' if it was not tripped."""
        reason, self._trip_reason = self._trip_reason, ''
        self._gross_chunks = 0
        return reason

    # -- checks -----------------------------------------------------------------------------

    def check_targets(self, targets: np.ndarray, commanded: np.ndarray) -> Verdict:
        """Clamp the absolute targets of a chunk, or trip.

        Args:
            targets: (K, J + 1) in contract order.
            commanded: (J + 1,) commanded position.
        """
        if self.tripped:
            return Verdict(TRIP, (self._trip_reason,))
        if not np.isfinite(targets).all():
            return self.trip('the policy returned targets that are not finite')
        reasons: list[str] = []
        safe = self._within_limits(targets, reasons)
        if self._bounds.trip_after and self._gross_chunks >= self._bounds.trip_after:
            chunks = f'{self._gross_chunks} consecutive chunks'
            return self.trip(f'{chunks} beyond limits: {reasons[0]}')
        safe = self._within_steps(safe, reasons)
        safe = self._within_workspace(safe, commanded, reasons)
        far, velocity_scale = np.abs(safe[0] - commanded)[:-1], 1.0
        if (far > self._start_tolerance).any():
            velocity_scale = self._bounds.ramp_speed
            away = f'first target {far.max():.2f} rad away'
            reasons.append(f'{away}: approaching at {velocity_scale:.0%} speed')
        return Verdict(CLAMPED if reasons else OK, tuple(reasons), safe, velocity_scale)

    def check_plan(self, plan: MotionPlan) -> str | None:
        """Return why a finished plan must not be executed, or None. A plan is never changed."""
        if plan is self._passed:
            return None
        for part, joints in ((plan.arm, slice(0, -1)), (plan.gripper, slice(-1, None))):
            if (fault := self._plan_fault(part, joints)) is not None:
                return fault
        fault = self._path_fault(plan.arm)
        self._passed = plan if fault is None else None
        return fault

    # -- inside -----------------------------------------------------------------------------

    def _within_limits(self, targets: np.ndarray, reasons: list[str]) -> np.ndarray:
        lower, upper = self._contract.lower, self._contract.upper
        safe = np.clip(targets, lower, upper)
        excess = np.abs(targets - safe)
        beyond = excess > 1e-9
        self.limit_clamps += beyond.sum(axis=0)
        gross = bool((excess[:, :-1] > self._bounds.gross_excess).any())
        self._gross_chunks = self._gross_chunks + 1 if gross else 0
        for j in np.flatnonzero(beyond.any(axis=0)):
            worst = targets[int(excess[:, j].argmax()), j]
            limits = f'[{lower[j]:.3f}, {upper[j]:.3f}]'
            reasons.append(f'{self._contract.names[j]} target {worst:.3f} outside {limits}')
        return safe

    def _within_steps(self, targets: np.ndarray, reasons: list[str]) -> np.ndarray:
        # The first target is checked by start_tolerance instead: the arm may have to travel.
        limit = self._max_step
        steps = np.abs(np.diff(targets[:, :-1], axis=0))
        if not (steps > limit).any():
            return targets
        safe = targets.copy()
        for i in range(1, len(safe)):
            before = safe[i - 1, :-1]
            bounded = np.clip(safe[i, :-1], before - limit, before + limit)
            self.step_clamps[:-1] += bounded != safe[i, :-1]
            safe[i, :-1] = bounded
        i, j = np.unravel_index(int((steps / limit).argmax()), steps.shape)
        name = self._contract.joint_names[j]
        reasons.append(f'{name} step {steps[i, j]:.2f} rad > {limit[j]:.2f} rad')
        return safe

    def _within_workspace(
        self, targets: np.ndarray, commanded: np.ndarray, reasons: list[str]
    ) -> np.ndarray:
        if self._kinematics is None:
            return targets
        path = np.vstack((commanded[:-1], targets[:, :-1]))
        tool = self._kinematics.tool_positions(path)
        outside = self._contract.distance_outside_workspace(tool)
        # An arm that is already outside (placed there by hand) may come back, not go farther.
        bad = outside[1:] > outside[:-1] + 1e-4
        if not bad.any():
            return targets
        first = int(np.argmax(bad))
        reasons.append(
            f'tool leaves the workspace by {outside[1 + first] * 1e3:.0f} mm at step {first + 1}'
        )
        safe = targets.copy()
        safe[first:, :-1] = path[first]
        return safe

    def _plan_fault(self, plan: JointPlan, joints: slice) -> str | None:
        contract = self._contract
        arrays = (plan.times, plan.positions, plan.velocities)
        if not all(np.isfinite(array).all() for array in arrays):
            return 'plan is not finite'
        durations = np.diff(plan.times)
        if plan.times[0] != 0.0 or not len(durations) or durations.min() <= 0.0:
            return 'plan times are not strictly increasing from zero'
        if plan.velocities[-1].any():
            return 'plan does not end at rest'
        knots = (durations, plan.positions, plan.velocities)
        velocity, acceleration = segment_peaks(*knots)
        for quantity, peak, limit in (
            ('velocity', velocity, contract.max_velocity[joints]),
            ('acceleration', acceleration, contract.max_acceleration[joints]),
        ):
            if (peak > limit * (1.0 + _PLAN_TOLERANCE)).any():
                j = int((peak / limit).max(axis=0).argmax())
                name = contract.names[joints][j]
                return f'{name} {quantity} {peak[:, j].max():.2f} > {limit[j]:.2f}'
        return self._range_fault(knots, plan.positions[0], joints)

    def _range_fault(
        self, knots: tuple[np.ndarray, np.ndarray, np.ndarray], start: np.ndarray, joints: slice
    ) -> str | None:
        low, high = position_bounds(*knots)
        # An arm that starts outside (moved by hand) may come back in.
        floor = np.minimum(self._contract.lower[joints], start) - _PLAN_TOLERANCE
        ceiling = np.maximum(self._contract.upper[joints], start) + _PLAN_TOLERANCE
        outside = (low < floor).any(axis=0) | (high > ceiling).any(axis=0)
        if not outside.any():
            return None
        j = int(np.argmax(outside))
        name = self._contract.names[joints][j]
        return f'{name} would reach [{low[:, j].min():.3f}, {high[:, j].max():.3f}]'

    def _path_fault(self, plan: JointPlan) -> str | None:
        if self._kinematics is None:
            return None
        times = plan.start + np.interp(
            np.arange(_WORKSPACE_SAMPLES * (len(plan.times) - 1) + 1) / _WORKSPACE_SAMPLES,
            np.arange(len(plan.times)),
            plan.times,
        )
        points = self._kinematics.tool_positions(plan.sample_many(times)[0])
        outside = self._contract.distance_outside_workspace(points)
        excess = float(outside.max() - outside[0])
        if excess <= self._bounds.workspace_margin:
            return None
        return f'motion leaves the workspace by {excess * 1e3:.0f} mm'
