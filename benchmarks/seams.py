# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Discontinuities at the seams between chunks: the scheduler against plain publishing.

    python -m benchmarks.seams --output seams

The same imperfect policy, latencies and random numbers drive three executors:

* `scheduler`: this package.
* `positions`: each chunk is published when it arrives, positions only; a
  joint_trajectory_controller interpolates them linearly, from where it is.
* `setpoints`: each action is a position command, one per step, as with drivers that do not
  interpolate.

Reported at each seam: the jump of the commanded position and velocity at the instant of the
hand-over, and the largest velocity change between two controller ticks in the following 0.2 s.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.motion.scheduler import ChunkScheduler
from vla_adapter_ros.robot.contract import RobotContract, resolve_contract

# The Alicia-D's controller manager runs at 200 Hz.
TICK = 0.005  # [s]
AFTER_SEAM = 0.2  # [s]
# The arm follows its command with this delay; the policy sees the measured joints.
ARM_DELAY = 0.05  # [s]
CHUNK = 8  # [steps]


class Executor(Protocol):
    """Turns chunks into commands."""

    def accept(self, chunk: ActionChunk, now: float, observed: np.ndarray) -> object | None:
        """Execute a chunk from now on; None if it was not used."""
        ...

    def commanded(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        """Return commanded position and velocity (J + 1,)."""
        ...

    def needs_inference(self, now: float) -> bool:
        """Return whether to start the next inference."""
        ...


class PlainExecutor:
    """Publishes each chunk when it arrives, its first action due one step later.

    Args:
        start: (J + 1,) where the arm is.
        execute_steps: steps to execute before the next chunk takes over.
        linear: interpolate linearly as a controller does with positions only; else each action
            is a set point.
    """

    def __init__(self, start: np.ndarray, execute_steps: int, linear: bool) -> None:
        self._times = np.array([0.0])
        self._goals = start[None]
        self._linear = linear
        self._steps = execute_steps
        self._due = 0.0
        self._latency = 0.0

    def accept(self, chunk: ActionChunk, now: float, observed: np.ndarray) -> object | None:
        """Let the chunk's actions follow from now on."""
        here = self.commanded(now)[0]
        steps = np.arange(1, len(chunk.actions) + 1)
        self._times = now + np.concatenate(([0.0], steps * chunk.step_period))
        if self._linear:
            self._goals = np.vstack((here, chunk.actions))
        else:
            # The first action is commanded immediately, the others a step apart.
            self._goals = np.vstack((chunk.actions, chunk.actions[-1:]))
        self._latency = now - chunk.observation_stamp
        self._due = now + self._steps * chunk.step_period
        return self

    def commanded(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the interpolated position and its slope, or the set point."""
        i = int(np.searchsorted(self._times, now, 'right')) - 1
        if i < 0 or i >= len(self._times) - 1:
            return self._goals[min(max(i, 0), len(self._goals) - 1)], np.zeros_like(self._goals[0])
        if not self._linear:
            return self._goals[i], np.zeros_like(self._goals[0])
        span = self._times[i + 1] - self._times[i]
        slope = (self._goals[i + 1] - self._goals[i]) / span
        return self._goals[i] + slope * (now - self._times[i]), slope

    def needs_inference(self, now: float) -> bool:
        """Return whether the next chunk would otherwise come late: inference overlaps too."""
        return now + self._latency >= self._due


@dataclass(frozen=True)
class SeamSettings:
    """One benchmark: a moving task, a policy with errors, and latencies.

    Attributes:
        seconds: simulated time.
        latency: mean time from observation to chunk [s].
        latency_spread: uniform, ± this fraction of it.
        execute_steps: steps of a chunk before the next takes over.
        blend_steps: of the scheduler.
        bias: error of all of a chunk, standard deviation [rad].
        drift: error that accumulates along a chunk, per step [rad].
        jitter: error of each action [rad].
        seed: of all random numbers.
    """

    seconds: float = 60.0
    latency: float = 0.15
    latency_spread: float = 0.4
    execute_steps: int = 4
    blend_steps: int = 0
    bias: float = 0.008
    drift: float = 0.003
    jitter: float = 0.001
    seed: int = 0


@dataclass
class Trace:
    """The commands of each tick, and the jumps at each seam.

    Attributes:
        positions: (T, J + 1).
        velocities: (T, J + 1), as commanded.
        seams: indices of ticks at which a chunk took over.
        position_jumps: (S, J) |Δ position| of the arm at each seam [rad].
        velocity_jumps: (S, J) |Δ velocity| [rad/s].
        errors: (T / 10,) largest distance of a joint from the task's path [rad].
        pace: seconds of the task done per second.
    """

    positions: np.ndarray
    velocities: np.ndarray
    seams: np.ndarray
    position_jumps: np.ndarray
    velocity_jumps: np.ndarray
    errors: np.ndarray = field(default_factory=lambda: np.zeros(0))
    pace: float = 0.0


class Task:
    """A smooth periodic motion of all joints, and a policy that follows it imperfectly."""

    def __init__(self, contract: RobotContract, settings: SeamSettings) -> None:
        rng = np.random.default_rng(settings.seed)
        joints = len(contract.joints)
        self._settings = settings
        self._centre = 0.5 * (contract.lower + contract.upper)[:-1]
        frequency = rng.uniform(0.1, 0.3, joints)
        speed = 0.45 * contract.max_velocity[:-1] * rng.uniform(0.5, 1.0, joints)
        self._rates = 2.0 * np.pi * frequency
        room = 0.4 * (contract.upper - contract.lower)[:-1]
        self._size = np.minimum(speed / self._rates, room)
        self._phase = rng.uniform(0.0, 2.0 * np.pi, joints)
        self._rng = rng
        self._at = 0.0

    def path(self, moments: np.ndarray) -> np.ndarray:
        """Return arm positions (N, J) along the task."""
        turns = np.asarray(moments)[:, None] * self._rates + self._phase
        return self._centre + self._size * np.sin(turns)

    def nearest(self, joints: np.ndarray, around: float) -> tuple[float, float]:
        """Return the moment of the task nearest to `joints`, and the distance [rad]."""
        moments = around + np.linspace(-0.5, 1.0, 301)
        gaps = np.abs(self.path(moments) - joints).max(axis=1)
        best = int(gaps.argmin())
        return float(moments[best]), float(gaps[best])

    def chunk(self, observed: np.ndarray, stamp: float, period: float) -> ActionChunk:
        """Return what the policy predicts when it sees the arm at `observed` (J + 1,)."""
        self._at = self.nearest(observed[:-1], self._at)[0]
        ahead = self._at + ARM_DELAY + period * np.arange(1, CHUNK + 1)
        arm, s = self.path(ahead), self._settings
        shape = arm.shape
        arm = arm + self._rng.normal(0.0, s.bias, shape[1])
        arm = arm + np.cumsum(self._rng.normal(0.0, s.drift, shape), axis=0)
        arm = arm + self._rng.normal(0.0, s.jitter, shape)
        gripper = 0.5 + 0.5 * np.sin(0.8 * ahead)[:, None]
        return ActionChunk(np.hstack((arm, gripper)), stamp, period, 'follow the path')


def run(
    make: Callable[[np.ndarray], Executor], contract: RobotContract, settings: SeamSettings
) -> Trace:
    """Drive one executor with the task, the policy and the latencies of `settings`."""
    task = Task(contract, settings)
    rng = np.random.default_rng(settings.seed + 1)
    start = np.append(task.path(np.zeros(1))[0], 0.5)
    executor = make(start)
    delay = round(ARM_DELAY / TICK)
    positions, velocities, seams, jumps = [], [], [], []
    pending: tuple[float, ActionChunk, np.ndarray] | None = None
    for tick in range(int(settings.seconds / TICK)):
        now = tick * TICK
        if pending is not None and now >= pending[0]:
            before = executor.commanded(now)
            if executor.accept(pending[1], now, pending[2]) is not None:
                after = executor.commanded(now)
                seams.append(tick)
                jumps.append([np.abs(b - a)[:-1] for a, b in zip(before, after, strict=True)])
            pending = None
        position, velocity = executor.commanded(now)
        positions.append(position)
        velocities.append(velocity)
        if pending is None and executor.needs_inference(now):
            observed = positions[max(tick - delay, 0)]
            chunk = task.chunk(observed, now, contract.step_period)
            spread = rng.uniform(-settings.latency_spread, settings.latency_spread)
            pending = (now + settings.latency * (1.0 + spread), chunk, observed)
    jump_array = np.array(jumps).reshape(-1, 2, len(contract.joints))
    trace = Trace(
        np.array(positions),
        np.array(velocities),
        np.array(seams),
        jump_array[:, 0],
        jump_array[:, 1],
    )
    trace.errors, done = _distances(task, trace.positions)
    trace.pace = done / settings.seconds
    return trace


def _distances(task: Task, positions: np.ndarray) -> tuple[np.ndarray, float]:
    at, errors = 0.0, []
    for row in positions[::10]:
        at, gap = task.nearest(row[:-1], at)
        errors.append(gap)
    return np.array(errors), at


def measure(trace: Trace) -> dict[str, float]:
    """Return the figures of one executor; max and p99 are over seams, the worst joint each."""
    arm = trace.positions[:, :-1]
    speeds = np.diff(arm, axis=0) / TICK
    changes = np.abs(np.diff(speeds, axis=0)).max(axis=1)
    span = round(AFTER_SEAM / TICK)
    near = [changes[max(s - 2, 0) : s + span].max() for s in trace.seams if s < len(changes)]
    position, velocity = (a.max(axis=1) for a in (trace.position_jumps, trace.velocity_jumps))
    return {
        'seams': len(trace.seams),
        'position_jump_max_mrad': 1e3 * float(position.max()),
        'position_jump_p99_mrad': 1e3 * float(np.percentile(position, 99)),
        'velocity_jump_max_rad_s': float(velocity.max()),
        'velocity_jump_p99_rad_s': float(np.percentile(velocity, 99)),
        'tick_velocity_change_max_rad_s': float(np.max(near)),
        'tick_velocity_change_p99_rad_s': float(np.percentile(near, 99)),
        'acceleration_rms_rad_s2': float(np.sqrt((np.diff(speeds, axis=0) ** 2).mean()) / TICK),
        'at_rest_fraction': float((np.abs(speeds).max(axis=1) < 0.01).mean()),
        'pace': trace.pace,
        'path_error_mean_mrad': 1e3 * float(trace.errors.mean()),
    }


def compare(
    contract: RobotContract, settings: SeamSettings
) -> tuple[dict[str, Any], dict[str, Trace]]:
    """Run the three executors; returns (JSON-able results, traces by executor)."""
    steps = settings.execute_steps

    def scheduled(start: np.ndarray) -> ChunkScheduler:
        scheduler = ChunkScheduler(contract, steps, settings.blend_steps)
        scheduler.reset(start, 0.0)
        return scheduler

    executors: dict[str, Callable[[np.ndarray], Executor]] = {
        'scheduler': scheduled,
        'positions': lambda start: PlainExecutor(start, steps, linear=True),
        'setpoints': lambda start: PlainExecutor(start, steps, linear=False),
    }
    traces = {name: run(make, contract, settings) for name, make in executors.items()}
    results = {
        'robot': contract.name,
        'tick_s': TICK,
        'settings': asdict(settings),
        'executors': {name: measure(trace) for name, trace in traces.items()},
    }
    return results, traces


_ROWS = (
    ('position_jump_max_mrad', 'position jump at a seam, max [mrad]'),
    ('position_jump_p99_mrad', 'position jump at a seam, p99 [mrad]'),
    ('velocity_jump_max_rad_s', 'velocity jump at a seam, max [rad/s]'),
    ('velocity_jump_p99_rad_s', 'velocity jump at a seam, p99 [rad/s]'),
    ('tick_velocity_change_max_rad_s', 'velocity change in 5 ms after a seam, max [rad/s]'),
    ('tick_velocity_change_p99_rad_s', 'velocity change in 5 ms after a seam, p99 [rad/s]'),
    ('acceleration_rms_rad_s2', 'acceleration, rms [rad/s²]'),
    ('at_rest_fraction', 'fraction of time at rest'),
    ('pace', 'seconds of the task done per second'),
    ('path_error_mean_mrad', 'distance from the path, mean [mrad]'),
    ('seams', 'seams'),
)


def table(results: dict[str, Any]) -> str:
    """Return the results as text."""
    executors = results['executors']
    lines = [f'{"":50}' + ''.join(f'{name:>13}' for name in executors)]
    for key, title in _ROWS:
        values = ''.join(f'{figures[key]:13.4g}' for figures in executors.values())
        lines.append(f'{title:50}{values}')
    return '\n'.join(lines)


def plot(traces: dict[str, Trace], path: Path, joint: int = 0) -> None:
    """Draw 4 s of one joint's position and velocity under each executor, seams marked."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(traces), figsize=(13, 5.5), sharex=True, sharey='row')
    begin, end = round(2.0 / TICK), round(6.0 / TICK)
    times = np.arange(begin, end) * TICK
    for column, (name, trace) in zip(axes.T, traces.items(), strict=True):
        position = trace.positions[:, joint]
        # The same measure for all: the change of command from tick to tick.
        velocity = np.gradient(position, TICK)
        for axis, values in zip(column, (position, velocity), strict=True):
            for seam in trace.seams[(trace.seams >= begin) & (trace.seams < end)]:
                axis.axvline(seam * TICK, color='0.85', linewidth=0.8, zorder=0)
            axis.plot(times, values[begin:end], linewidth=1.2)
        column[0].set_title(name)
        column[1].set_xlabel('time [s]')
        column[1].set_ylim(-1.5, 1.5)
    axes[0, 0].set_ylabel('joint 1 commanded [rad]')
    axes[1, 0].set_ylabel('its velocity [rad/s]')
    figure.suptitle('Seams between chunks (grey: a chunk takes over)')
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _parser() -> argparse.ArgumentParser:
    defaults = SeamSettings()
    result = argparse.ArgumentParser(
        prog='python -m benchmarks.seams',
        description='Measure the discontinuities between action chunks: the scheduler against '
        'publishing each chunk when it arrives. Writes seams.json and seams.png.',
    )
    result.add_argument('--output', type=Path, default=Path('seams'), help='folder (%(default)s)')
    result.add_argument('--robot', default='alicia_d', help='robot contract: name or YAML file')
    helps = {
        'seconds': 'simulated time [s]',
        'latency': 'mean inference latency [s]',
        'latency_spread': 'latency varies by ± this fraction',
        'execute_steps': 'steps of a chunk before the next takes over',
        'blend_steps': "the scheduler's overlap blend",
        'bias': 'error of all of a chunk, standard deviation [rad]',
        'drift': 'error that accumulates along a chunk, per step [rad]',
        'jitter': 'error of each action [rad]',
        'seed': 'seed of all random numbers',
    }
    for name, text in helps.items():
        value = getattr(defaults, name)
        flag = f'--{name.replace("_", "-")}'
        result.add_argument(flag, type=type(value), default=value, help=f'{text} (%(default)s)')
    result.add_argument('--no-plot', action='store_true', help='write no plot')
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    options = _parser().parse_args(arguments)
    names = SeamSettings.__dataclass_fields__
    settings = SeamSettings(**{name: getattr(options, name) for name in names})
    try:
        contract = resolve_contract(options.robot)
    except VLAAdapterError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    results, traces = compare(contract, settings)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / 'seams.json').write_text(json.dumps(results, indent=2) + '\n')
    print(table(results))
    if not options.no_plot:
        plot(traces, options.output / 'seams.png')
    print(f'written to {options.output}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
