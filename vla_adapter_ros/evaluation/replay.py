# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Replays a recorded episode through the complete control stack, in place of a policy.

    python -m vla_adapter_ros.evaluation.replay datasets/pick --episode 3 --output replayed/

The difference between recording and replay is the effect of scheduler, safety filter, controllers
and arm: replay the data before you blame the policy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vla_adapter_ros.data.episodes import EpisodeSource
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.errors import DatasetError, VLAAdapterError
from vla_adapter_ros.inference.chunk import CHUNK_SIZE, ActionChunk
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import RobotContract

MAX_LAG = 1.0  # [s]
# A spline through targets peaks above their differences, and the arm catches up only with the rest
# of the limits: above this fraction of a limit it falls behind.
FULL_DEMAND = 0.7


class EpisodeReplay:
    """A policy that returns the recorded targets of one episode, by time.

    The episode begins with the first observation. After its end the last target is held.

    Args:
        source: demonstrations with absolute joint targets.
        episode: which.
        chunk_size: actions in a chunk.

    Raises:
        DatasetError: no such episode, or its actions are not joint targets.
    """

    def __init__(self, source: EpisodeSource, episode: int, chunk_size: int = CHUNK_SIZE) -> None:
        if source.contract is None or source.action_kind != 'joint_target':
            raise DatasetError(f'{source.path}: its actions are not joint targets of a robot')
        if not 0 <= episode < len(source.episodes):
            raise DatasetError(f'episode {episode}: expected 0 to {len(source.episodes) - 1}')
        # Targets are absolute; the network's own action space does not matter here.
        self.contract = replace(source.contract, action_space='joint_position')
        self.instruction = source.episodes[episode].instruction
        self.state, self.actions = (v.astype(float) for v in source.states_actions(episode))
        self._fps, self._size = source.fps, chunk_size
        self._start: float | None = None

    @property
    def duration(self) -> float:
        """Length of the episode [s]."""
        return len(self.actions) / self._fps

    @property
    def demand(self) -> tuple[float, float]:
        """Largest velocity and acceleration of the arm's targets, as fractions of the limits."""
        contract = self.contract
        velocity = np.diff(self.actions[:, :-1], axis=0) * self._fps
        acceleration = np.diff(velocity, axis=0) * self._fps
        fractions = (
            np.abs(velocity) / contract.max_velocity[:-1],
            np.abs(acceleration) / contract.max_acceleration[:-1],
        )
        fast, sharp = (float(value.max(initial=0.0)) for value in fractions)
        return fast, sharp

    def target_at(self, time: float) -> np.ndarray:
        """Return the recorded target (J + 1,) that is due `time` after the start [s]."""
        # Row i is due one frame after frame i.
        row = round(time * self._fps) - 1
        return self.actions[min(max(row, 0), len(self.actions) - 1)]

    def predict(self, observation: Observation) -> ActionChunk:
        """Return the recorded targets that follow the observation."""
        if self._start is None:
            self._start = observation.stamp
        elapsed = observation.stamp - self._start
        steps = elapsed + self.contract.step_period * (np.arange(self._size) + 1)
        return ActionChunk(
            actions=np.stack([self.target_at(float(step)) for step in steps]),
            observation_stamp=observation.stamp,
            step_period=self.contract.step_period,
            instruction=observation.instruction,
            latencies={'total': 0.0},
            provenance={'policy': 'replay'},
        )


@dataclass(frozen=True)
class ReplayResult:
    """Result of a replay.

    Attributes:
        times: (N,) since the start [s].
        measured: (N, J + 1) of the replay.
        recorded: (N, J + 1) state recorded at these times.
        targets: (N, J + 1) recorded targets due at these times.
        refused: chunks that the scheduler or the safety filter refused.
        chunks: number of all chunks.
    """

    times: np.ndarray
    measured: np.ndarray
    recorded: np.ndarray
    targets: np.ndarray
    refused: int
    chunks: int

    @property
    def lag(self) -> float:
        """Delay of the arm behind the recording [s]: the shift that fits best."""
        step = float(self.times[1] - self.times[0])
        most = min(round(MAX_LAG / step), len(self.times) // 2)
        arm, recorded = self.measured[:, :-1], self.recorded[:, :-1]
        errors = [
            np.abs(arm[shift:] - recorded[: len(recorded) - shift]).mean()
            for shift in range(most + 1)
        ]
        return int(np.argmin(errors)) * step


def replay_in_simulation(replay: EpisodeReplay, latency: float = 0.0) -> ReplayResult:
    """Replay an episode with the simulated arm on an empty table, from its recorded start.

    Args:
        replay: the episode.
        latency: simulated time from observation to chunk [s].
    """
    from vla_adapter_ros.evaluation.simulated_node import ControlSettings, SimulatedNode
    from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
    from vla_adapter_ros.simulation.layout import SceneOptions

    _check_arm(replay.contract, ArmSimulation.joint_names)
    with ArmSimulation() as simulation:
        options = SceneOptions(objects=())
        layout = replace(
            simulation.reset(0, options),
            start_joints=tuple(replay.state[0, :-1]),
            start_gripper=float(np.clip(replay.state[0, -1], 0.0, 1.0)),
        )
        simulation.reset(0, options, layout)
        node = SimulatedNode(
            simulation, replay, replay.contract, ControlSettings(latency=latency), False,
            replay.instruction,
        )  # fmt: skip
        times, measured = [], []
        while simulation.time < replay.duration:
            node.step()
            times.append(simulation.time)
            measured.append(simulation.proprioception)
    moments = np.array(times)
    frames = np.arange(len(replay.state)) * replay.duration / len(replay.state)
    recorded = [np.interp(moments, frames, column) for column in replay.state.T]
    targets = np.stack([replay.target_at(float(time)) for time in moments])
    return ReplayResult(
        moments, np.stack(measured), np.stack(recorded, axis=1), targets, node.refused, node.chunks
    )


def _check_arm(contract: RobotContract, names: Sequence[str]) -> None:
    if contract.names != tuple(names):
        raise DatasetError(
            f'robot {contract.name}: joints {list(contract.names)}, the simulated arm has '
            f'{list(names)}'
        )


def report(replay: EpisodeReplay, result: ReplayResult) -> str:
    """Return the differences between recording and replay as text."""
    fast, sharp = replay.demand
    why = '' if max(fast, sharp) < FULL_DEMAND else ': motion near or above them lags behind'
    lines = [
        f'{replay.instruction!r}: {replay.duration:.1f} s, {result.chunks} chunks, '
        f'{result.refused} refused; the arm is {result.lag:.2f} s behind the recording',
        f'it uses up to {fast:.0%} of the velocity and {sharp:.0%} of the acceleration limits'
        f'{why}',
        f'{"":14}{"mean |replay - recording|":>28}{"largest":>10}',
    ]
    difference = np.abs(result.measured - result.recorded)
    for i, name in enumerate(replay.contract.names):
        lines.append(f'{name:14}{difference[:, i].mean():28.4f}{difference[:, i].max():10.4f}')
    return '\n'.join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.evaluation.replay',
        description='Replay recorded episodes through scheduler, safety filter, controllers and '
        'the simulated arm, and report the difference from the recording.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('dataset', help='demonstrations with joint targets: LeRobot or bags')
    parser.add_argument(
        '--episode', type=int, action='append', default=[], help='episode; repeatable (all)'
    )
    parser.add_argument(
        '--latency', type=float, default=0.05, help='from observation to chunk [s]'
    )
    parser.add_argument('--output', type=Path, help='folder for plots')
    options = parser.parse_args(arguments)
    try:
        source = open_source(options.dataset)
        for number in options.episode or range(len(source.episodes)):
            replay = EpisodeReplay(source, number)
            result = replay_in_simulation(replay, options.latency)
            print(f'{source.episodes[number].key}: {report(replay, result)}')
            if options.output is not None:
                _plot(options.output, source.episodes[number].key, replay, result)
    except VLAAdapterError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


def _plot(folder: Path, key: str, replay: EpisodeReplay, result: ReplayResult) -> None:
    from vla_adapter_ros.evaluation.film import plot_joints

    folder.mkdir(parents=True, exist_ok=True)
    plot_joints(
        folder / f'{key.replace("/", "_")}.png',
        (result.times, result.measured), (result.times, result.targets),
        replay.contract.names, f'replay of {key}: {replay.instruction}',
    )  # fmt: skip


if __name__ == '__main__':
    raise SystemExit(main())
