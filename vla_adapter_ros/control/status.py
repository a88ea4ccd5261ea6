# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""State of the control loop, with a human-readable reason why the arm is or is not moving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vla_adapter_ros.control.dry_run import DRY_RUN
from vla_adapter_ros.control.latest_value import InputReport

if TYPE_CHECKING:
    from vla_adapter_ros.control.loop import ControlLoop

# The order is that of the constants in msg/PolicyStatus.msg.
STATES = ('INACTIVE', 'WAITING_FOR_INPUT', 'READY', 'RUNNING', 'HOLDING', 'TRIPPED')


@dataclass(frozen=True)
class LoopStatus:
    """A snapshot for the user; see msg/PolicyStatus.msg for the fields."""

    state: str = 'INACTIVE'
    reason: str = 'the node is not active'
    enabled: bool = False
    dry_run: bool = False
    speed_scale: float = 1.0
    instruction: str = ''
    executing_instruction: str = ''
    chunks: int = 0
    accepted: int = 0  # of them
    chunk_rate: float = 0.0
    remaining_steps: int = 0
    latency: tuple[float, float] = (0.0, 0.0)
    stages: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    passed_steps: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    skips: Mapping[str, int] = field(default_factory=dict)
    clamps: Mapping[str, int] = field(default_factory=dict)
    plans_by_kind: Mapping[str, int] = field(default_factory=dict)
    inputs: tuple[InputReport, ...] = ()
    last_error: str = ''
    last_error_stamp: float = 0.0


def loop_status(loop: ControlLoop | None, now: float) -> LoopStatus:
    """Return the status of a loop (None: the node is not configured)."""
    if loop is None:
        return LoopStatus(reason='the node is not configured')
    scheduler = loop.scheduler
    state, reason = _state(loop, now)
    if loop.dry_run:
        reason = f'{DRY_RUN}; {reason}' if reason else DRY_RUN
    stages = {**loop.stages.summary(), **scheduler.latency.summary()}
    p50, p95, _ = stages.get('observation_to_command', (0.0, 0.0, 0.0))
    executing = scheduler.executing(now) if scheduler.moving(now) else None
    safety = loop.safety
    clamps = safety.limit_clamps + safety.step_clamps
    return LoopStatus(
        state=state,
        reason=reason,
        enabled=loop.enabled,
        dry_run=loop.dry_run,
        speed_scale=scheduler.speed_scale,
        instruction=loop.instruction,
        executing_instruction=executing.instruction if executing else '',
        chunks=loop.chunks,
        accepted=scheduler.accepted,
        chunk_rate=loop.chunk_rate(now),
        remaining_steps=scheduler.remaining_steps(now),
        latency=(p50, p95),
        stages=stages,
        passed_steps=int(scheduler.dropped['passed'] + scheduler.dropped['late']),
        dropped=dict(scheduler.dropped),
        skips=dict(loop.inputs.skipped),
        clamps=dict(zip(loop.contract.names, (int(n) for n in clamps), strict=True)),
        plans_by_kind=dict(scheduler.plans_by_kind),
        inputs=tuple(loop.inputs.reports(now)),
        last_error=loop.last_error,
        last_error_stamp=loop.last_error_stamp,
    )


def _state(loop: ControlLoop, now: float) -> tuple[str, str]:
    if not loop.active:
        return 'INACTIVE', 'the node is configured but not active'
    if loop.safety.tripped:
        return 'TRIPPED', f'{loop.safety.trip_reason}; call ~/clear_trip, then ~/enable'
    if not loop.enabled:
        if problem := loop.inputs.state_problem(now) or loop.inputs.gap(now):
            return 'WAITING_FOR_INPUT', problem
        if loop.gate.stopping(now):
            return 'READY', f'{loop.reason or "motion was disabled"}; the arm is still stopping'
        why = f'{loop.reason}; ' if loop.reason else ''
        return 'READY', f'{why}motion is disabled; call ~/enable'
    if loop.travelling:
        return 'RUNNING', 'moving to a pose; the policy does not run'
    if loop.reason:
        return ('WAITING_FOR_INPUT' if not loop.chunks else 'HOLDING'), loop.reason
    return 'RUNNING', ''
