# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Section `supervision` of a robot contract: the bounds within which an arm is moved.

They hold on the robot only. They are no property of a data set or a policy, and are not compared
with those of a checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.robot.sections import Section


def _bound(default: float, *, above: float = 0.0, at_most: float = math.inf) -> Any:
    return field(default=default, metadata={'above': above, 'at_most': at_most})


@dataclass(frozen=True)
class Supervision:
    """How far arm, joint states and targets may be from what is expected.

    Attributes:
        lag: an arm may be where it was commanded to be at any time within the last `lag` [s].
        soft_tracking_error: farther from there than this [rad], the command is taken back to a
            little less from the arm and waits for it.
        hard_tracking_error: farther than this [rad], motion trips.
        blocked_after: an arm that comes no closer to a command that waits for this long [s] is
            blocked: motion trips.
        held_tolerance: a joint this close [rad] to the target at which it was held keeps that
            target when motion goes on. An arm sags a little below its command; commanding the
            measured position would let it sink with every stop.
        refuse_zeros_at_start: exact zeros on all joints before any other values are no data.
        frozen_after: joint states that are bit-equal for this long [s] …
        frozen_travel: … while the command moves this far [rad] are of a driver without an arm.
        range_margin: how far [rad] beyond its limits a joint may be measured.
        max_speed: joint speed [rad/s] that a real arm never exceeds between two messages.
        max_step: largest change of an arm joint from one target to the next [rad]; at least
            three times what its velocity limit allows in a step.
        start_tolerance: a first target farther than this [rad] from the arm is approached at
            `ramp_speed` only; at least twice what its velocity limit allows in a step.
        ramp_speed: fraction of the velocity limits on such an approach.
        gross_excess: a target this far [rad] beyond a limit is a fault of the policy, not noise.
        trip_after: consecutive chunks with such targets before motion trips; 0: never.
        workspace_margin: how far [m] a motion may leave the workspace between two targets.
    """

    lag: float = _bound(0.2, at_most=2.0)
    soft_tracking_error: float = _bound(0.1, at_most=math.pi)
    hard_tracking_error: float = _bound(0.4, at_most=math.pi)
    blocked_after: float = _bound(0.5, at_most=10.0)
    held_tolerance: float = _bound(0.05, at_most=math.pi)
    refuse_zeros_at_start: bool = True
    frozen_after: float = _bound(0.5, at_most=60.0)
    frozen_travel: float = _bound(0.05, at_most=math.pi)
    range_margin: float = _bound(0.2, at_most=math.pi)
    max_speed: float = _bound(12.0, at_most=100.0)
    max_step: float = _bound(0.5, at_most=2.0 * math.pi)
    start_tolerance: float = _bound(0.3, at_most=2.0 * math.pi)
    ramp_speed: float = _bound(0.2, at_most=1.0)
    gross_excess: float = _bound(0.05, at_most=2.0 * math.pi)
    trip_after: int = 20
    workspace_margin: float = _bound(0.02, at_most=1.0)

    def __post_init__(self) -> None:
        """Refuse bounds that contradict each other. Raises ContractError."""
        soft, hard = self.soft_tracking_error, self.hard_tracking_error
        if hard <= soft:
            raise ContractError(
                f'supervision.hard_tracking_error: got {hard:g}, expected more than '
                f'soft_tracking_error ({soft:g} rad)'
            )


def parse_supervision(section: Section | None) -> Supervision:
    """Return the bounds of a contract; what it does not state has its default.

    Raises:
        ContractError: names key, value and allowed values.
    """
    if section is None:
        return Supervision()
    values: dict[str, Any] = {}
    for key in fields(Supervision):
        if key.name == 'trip_after':
            values[key.name] = section.integer(key.name, key.default, low=0, high=10_000)
        elif key.name == 'refuse_zeros_at_start':
            values[key.name] = section.flag(key.name, key.default)
        else:
            values[key.name] = section.number(key.name, key.default, **key.metadata)
    section.finish()
    return Supervision(**values)
