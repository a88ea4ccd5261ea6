# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Contracts, chunks and a simulated loop for the tests of runtime motion."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.control.front_ends import TrajectoryCommand
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.motion.plan import MotionPlan
from vla_adapter_ros.motion.scheduler import ChunkScheduler
from vla_adapter_ros.robot.contract import RobotContract, load_contract
from vla_adapter_ros.simulation.trajectory_controller import Trajectory, TrajectoryPoint

ROBOTS = Path(__file__).parents[2] / 'config' / 'robots'
HOME = np.array([0.0, 0.3, 0.8, 0.0, 0.4, 0.0, 1.0])
PERIOD = 0.1


@lru_cache
def robot(name: str = 'alicia_d') -> RobotContract:
    return load_contract(ROBOTS / f'{name}.yaml')


def changed_robot(**changes: Any) -> RobotContract:
    """The Alicia-D with other values; `front_end__kind` reaches into a section."""
    data = copy.deepcopy(robot().to_dict())
    for key, value in changes.items():
        place = data
        *sections, last = key.split('__')
        for section in sections:
            place = place[section]
        place[last] = value
    return RobotContract.from_dict(data)


def supervised(contract: RobotContract | None = None, **bounds: Any) -> RobotContract:
    """A contract with other bounds of supervision."""
    contract = contract or robot()
    return replace(contract, supervision=replace(contract.supervision, **bounds))


def chunk_to(
    goals: Any, stamp: float, instruction: str = 'stack', period: float = PERIOD
) -> ActionChunk:
    return ActionChunk(np.asarray(goals, dtype=float), stamp, period, instruction)


def line_from(start: np.ndarray, step: Any, steps: int = 8) -> np.ndarray:
    """Targets that go on from `start` by `step` each."""
    return start + np.outer(np.arange(1, steps + 1), np.broadcast_to(step, len(start)))


def slow_step(size: float = 0.02) -> np.ndarray:
    """A step of all arm joints, the gripper stays."""
    return np.array([size] * 6 + [0.0])


def ready(start: np.ndarray = HOME, now: float = 0.0, **options: Any) -> ChunkScheduler:
    scheduler = ChunkScheduler(options.pop('contract', robot()), **options)
    scheduler.reset(start, now)
    return scheduler


def received(command: TrajectoryCommand) -> Trajectory:
    """What a controller reads from a trajectory that was sent."""
    points = [
        TrajectoryPoint(float(t), p.tolist(), v.tolist())
        for t, p, v in zip(command.times, command.positions, command.velocities, strict=True)
    ]
    return Trajectory(command.names, points)


@dataclass
class Record:
    """What was commanded at each tick, and the plans that were sent."""

    times: list[float] = field(default_factory=list)
    positions: list[np.ndarray] = field(default_factory=list)
    velocities: list[np.ndarray] = field(default_factory=list)
    plans: list[tuple[float, MotionPlan]] = field(default_factory=list)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.array(self.times), np.array(self.positions), np.array(self.velocities)


Policy = Callable[[float, int], np.ndarray]


def run_loop(
    scheduler: ChunkScheduler,
    policy: Policy,
    latency: Callable[[int], float],
    seconds: float,
    tick: float = 0.005,
    lost: Callable[[int], bool] = lambda n: False,
) -> Record:
    """Run inference in the background and record what the arm is commanded.

    Args:
        policy: (time of the observation, number of the inference) → targets (K, 7).
        latency: number of the inference → seconds until its chunk arrives.
        lost: number of the inference → its chunk never arrives.
    """
    record, pending, count = Record(), None, 0
    for i in range(int(seconds / tick)):
        now = i * tick
        scheduler.update(now)
        if pending is not None and now >= pending[0]:
            _, chunk, observed, dropped = pending
            pending = None
            plan = None if dropped else scheduler.accept(chunk, now, observed)
            if plan is not None:
                record.plans.append((now, plan))
        if pending is None and scheduler.needs_inference(now):
            observed = scheduler.commanded(now)[0]
            chunk = chunk_to(policy(now, count), now)
            pending = (now + latency(count), chunk, observed, lost(count))
            count += 1
        position, velocity = scheduler.commanded(now)
        record.times.append(now)
        record.positions.append(position)
        record.velocities.append(velocity)
    return record


def assert_within_limits(record: Record, contract: RobotContract) -> None:
    """No step above v_max·dt, no velocity change above a_max·dt, nothing outside, no NaN."""
    times, positions, velocities = record.arrays()
    dt = np.diff(times)[:, None]
    assert np.isfinite(positions).all() and np.isfinite(velocities).all()
    assert (np.abs(velocities) <= contract.max_velocity * 1.001).all()
    assert (np.abs(np.diff(positions, axis=0)) <= contract.max_velocity * dt * 1.001).all()
    assert (np.abs(np.diff(velocities, axis=0)) <= contract.max_acceleration * dt * 1.001).all()
    assert (positions >= contract.lower - 1e-3).all()
    assert (positions <= contract.upper + 1e-3).all()
