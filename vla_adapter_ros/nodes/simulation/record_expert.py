# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
r"""Demonstrations through the real nodes, with the scripted expert in place of a person.

    python -m vla_adapter_ros.nodes.simulation.record_expert recordings/plate \
        --task pick_and_place --episodes 50

Starts simulated arm, policy node (policy: expert) and recorder, and does what an operator does for
each episode: lays out the table, says the instruction, starts the recorder, enables motion, waits
for the end, and marks success or failure. The folder then holds bags like those of a real arm.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.policies import PolicySettings
from vla_adapter_ros.evaluation.rollout import EpisodeJob, EpisodeResult
from vla_adapter_ros.evaluation.simulate import EvaluationSettings
from vla_adapter_ros.evaluation.simulated_node import ControlSettings
from vla_adapter_ros.nodes.bringup.bringup import Bringup
from vla_adapter_ros.nodes.bringup.demonstrations import RECORD
from vla_adapter_ros.nodes.bringup.launch_model import SIM_NAMESPACE
from vla_adapter_ros.nodes.simulation.evaluation_rig import EvaluationRig
from vla_adapter_ros.simulation.tasks import INSTRUCTED_TASKS, TaskOptions

_RECORDER = 'recorder'
_ROBOT = 'alicia_d_sim'
# The recorder has heard every topic within this [s].
_READY_TIMEOUT_S = 60.0
# Between two attempts to start [s].
_PAUSE_S = 0.5


def record_episodes(folder: Path, task: str, seeds: Sequence[int]) -> Iterator[EpisodeResult]:
    """Record one episode for each seed.

    Simulated time is on /clock: a busy machine makes it slower, not the recordings worse.

    Raises:
        VLAAdapterError: a node cannot start, is lost or refuses.
    """
    settings = EvaluationSettings(
        'expert', _ROBOT, ControlSettings(), TaskOptions(), PolicySettings(), sim_time_rate=1.0
    )
    recorder = RECORD.start({
        'robot': _ROBOT, 'folder': str(folder.resolve()), 'images': 'jpeg',
        'operator': 'scripted expert', 'use_sim_time': 'true', 'namespace': SIM_NAMESPACE,
    })  # fmt: skip
    with ExitStack() as stack:
        rig = stack.enter_context(EvaluationRig(settings, {'policy': 'expert'}))
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(Bringup(recorder.nodes, logs, lambda line: None))
        services = {
            name: rig.trigger(f'{_RECORDER}/{name}')
            for name in ('start', 'stop_success', 'stop_failure')
        }
        for client in services.values():
            if not client.wait_for_service(_READY_TIMEOUT_S):
                raise VLAAdapterError(f'{_RECORDER} did not start within {_READY_TIMEOUT_S:g} s')

        def call(name: str) -> None:
            rig.call(services[name].call_async(services[name].srv_type.Request()), name, _RECORDER)

        def start() -> None:
            end = time.monotonic() + _READY_TIMEOUT_S
            while True:
                try:
                    return call('start')
                except VLAAdapterError:
                    # It may not have heard of every topic or of the instruction yet.
                    if time.monotonic() > end:
                        raise
                rig.wait_for(_PAUSE_S)

        for seed in seeds:
            result = rig.run(EpisodeJob(task, seed), before_motion=start)
            call('stop_success' if result.success else 'stop_failure')
            yield result


def main(words: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.nodes.simulation.record_expert',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('folder', type=Path, help='where the bags go, after those that are there')
    parser.add_argument('--task', default='pick_and_place', choices=INSTRUCTED_TASKS)
    parser.add_argument('--episodes', type=int, default=50, help='how many (50)')
    parser.add_argument(
        '--seed', type=int, default=1_000_000, help='of the first episode (1000000)'
    )
    options = parser.parse_args(words)
    begin, done = time.monotonic(), 0
    seeds = range(options.seed, options.seed + options.episodes)
    try:
        for number, result in enumerate(record_episodes(options.folder, options.task, seeds), 1):
            done += result.success
            word = 'success' if result.success else f'failure {result.failure}'
            print(
                f'{number}/{options.episodes} {result.instruction}: {word}, '
                f'{result.seconds:.1f} s',
                flush=True,
            )
    except VLAAdapterError as error:
        print(f'record_expert: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('record_expert: stopped; finished episodes are kept', file=sys.stderr)
        return 130
    minutes = (time.monotonic() - begin) / 60
    print(f'{options.episodes} episodes in {minutes:.1f} min, {done} marked as success')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
