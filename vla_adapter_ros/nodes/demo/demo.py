# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""`make demo`: the simulated arm and the policy over real ROS 2, shown and recorded.

Starts the same executables with the same parameter files as `alicia.launch.py sim:=true`, calls
/set_instruction as a user would, and leaves a film, a plot and a summary.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.task import Future

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.msg import PolicyStatus
from vla_adapter_ros.nodes.bringup.bringup import Bringup, namespace_arguments
from vla_adapter_ros.nodes.bringup.launch_model import full_name
from vla_adapter_ros.nodes.bringup.nodes_to_start import nodes_to_start
from vla_adapter_ros.nodes.common.dds_profile import use_shipped_profile
from vla_adapter_ros.nodes.demo.demo_observer import FILM_RATE, DemoObserver
from vla_adapter_ros.nodes.demo.demo_viewer import check_viewer
from vla_adapter_ros.nodes.viewing.rerun_log import RerunLog, has_display
from vla_adapter_ros.nodes.viewing.rerun_topics import RerunTopics
from vla_adapter_ros.robot.contract import RobotContract, contract_path, load_contract
from vla_adapter_ros.robot.kinematics import Kinematics
from vla_adapter_ros.srv import SetInstruction

DEFAULT_INSTRUCTION = "push the red block to the left"
RECORDING = 'demo.rrd'
Say = Callable[[str], None]
_AFTER_SUCCESS_S = 1.5
_PROGRESS_PERIOD_S = 2.0
# A policy that has only failed for this long will not recover [s].
_PATIENCE = 3.0


def main(words: Sequence[str] | None = None) -> None:
    """Run the demo; exits with a one-line reason if something is missing."""
    options = parse_options(words)
    try:
        run(options)
    except VLAAdapterError as error:
        sys.exit(f'demo: {error}')
    except KeyboardInterrupt:
        sys.exit('demo: stopped')


def parse_options(words: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; POLICY and INSTRUCTION of the environment are the defaults."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.nodes.demo',
        description='Run the policy on the simulated arm over ROS 2 and record what happens.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    environment = os.environ
    parser.add_argument(
        '--policy', default=environment.get('POLICY') or 'checkpoint',
        help='checkpoint, expert, random, random_network or hold',
    )
    parser.add_argument('--checkpoint', default=environment.get('CHECKPOINT', ''),
                        help='checkpoint directory; empty: the one that ships')
    parser.add_argument('--policy-server', default='',
                        help='policy server to ask instead, ws://HOST:PORT')
    parser.add_argument(
        '--instruction', default=environment.get('INSTRUCTION') or DEFAULT_INSTRUCTION,
        help='what to ask for through /set_instruction',
    )
    parser.add_argument('--task', default=environment.get('TASK', ''),
                        help='what lies on the table; empty: as in config/alicia.yaml')
    parser.add_argument('--seed', type=int, default=int(environment.get('SEED') or 0),
                        help='seed of the scene')
    parser.add_argument('--seconds', type=float, default=20.0,
                        help='how long to run if the task is not done before')
    parser.add_argument(
        '--viewer', default=environment.get('VIEWER') or 'none',
        help="mujoco: the simulation's window (needs a display); rerun: both cameras, joints, "
        "trajectories and the policy's intended path in demo.rrd and, where there is a display, "
        'in its window; none',
    )
    parser.add_argument('--out', type=Path, default=Path('demo'), help='folder for the results')
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> None:
    """Start the nodes, ask, watch, stop, write.

    Raises:
        VLAAdapterError: a node could not be started or refused the instruction.
    """
    start = time.monotonic()

    def say(text: str) -> None:
        print(f'[{time.monotonic() - start:5.1f} s] {text}', flush=True)

    check_viewer(options.viewer, os.environ)
    options.out.mkdir(parents=True, exist_ok=True)
    processes = nodes_to_start({
        'sim': 'true', 'policy': options.policy, 'checkpoint': options.checkpoint,
        'policy_server': options.policy_server, 'task': options.task, 'seed': str(options.seed),
    })
    if options.viewer == 'mujoco':
        arm = processes[0]
        processes[0] = replace(arm, parameters={**arm.parameters, 'window': True})
    robot = contract_path(str(processes[-1].parameters['robot']))
    contract = load_contract(robot)
    use_shipped_profile(sim=True)
    with Bringup(processes, options.out / 'logs', say) as bringup:
        bringup.activate()
        viewer = make_viewer(options, contract, robot)
        space = processes[0].namespace
        enclave = ['--enclave', full_name(space, 'demo')]
        rclpy.init(args=['--ros-args', *namespace_arguments(space), *enclave])
        try:
            observer = DemoObserver(contract)
            if viewer is not None:
                RerunTopics(observer, contract, viewer)
            executor = SingleThreadedExecutor()
            executor.add_node(observer)
            say(describe_policy(observer, executor))
            ask(observer, executor, options.instruction, say)
            watch(observer, executor, bringup, options.seconds, say)
        finally:
            rclpy.try_shutdown()
            if viewer is not None:
                viewer.close()
                path = options.out / RECORDING
                say(f'wrote {path}; open it with: rerun {path}')
    write_results(options, observer, contract, say)


def make_viewer(
    options: argparse.Namespace, contract: RobotContract, robot: Path
) -> RerunLog | None:
    """Return the recorder for rerun, if requested; `robot` is the contract's file."""
    if options.viewer != 'rerun':
        return None
    kinematics = Kinematics.of(contract, robot.parent)
    return RerunLog(contract, kinematics, options.out / RECORDING, has_display(os.environ))


def describe_policy(observer: DemoObserver, executor: SingleThreadedExecutor) -> str:
    """Wait for the first status and say what runs."""
    end = time.monotonic() + 10.0
    while observer.status is None and time.monotonic() < end:
        executor.spin_once(timeout_sec=0.1)
    if observer.status is None:
        raise VLAAdapterError('no status from the policy node within 10 s; see demo/logs')
    return f'policy loaded: {observer.status.policy}'


def ask(
    observer: DemoObserver, executor: SingleThreadedExecutor, instruction: str, say: Say
) -> None:
    """Call /set_instruction and print the answer."""
    if not observer.set_instruction.wait_for_service(10.0):
        raise VLAAdapterError('service set_instruction did not appear within 10 s')
    observer.begin(instruction)
    future: Future = observer.set_instruction.call_async(
        SetInstruction.Request(instruction=instruction)
    )
    executor.spin_until_future_complete(future, timeout_sec=10.0)
    answer = future.result()
    if answer is None:
        raise VLAAdapterError('service set_instruction did not answer within 10 s')
    if not answer.success:
        raise VLAAdapterError(f'the instruction was refused: {answer.message}')
    say(f'{observer.resolve_service_name("set_instruction")}: {answer.message}')


def watch(
    observer: DemoObserver,
    executor: SingleThreadedExecutor,
    bringup: Bringup,
    seconds: float,
    say: Say,
) -> None:
    """Record until the task is done (plus a moment) or the time is over."""
    next_line = _PROGRESS_PERIOD_S
    while observer.elapsed < seconds:
        executor.spin_once(timeout_sec=0.1)
        if ended := bringup.first_ended():
            raise VLAAdapterError(f'{ended}; see demo/logs')
        if observer.elapsed > _PATIENCE and (reason := observer.only_failed()):
            raise VLAAdapterError(reason)
        if observer.elapsed >= next_line:
            next_line += _PROGRESS_PERIOD_S
            say(progress_line(observer))
        success = observer.recording.success
        if success is not None and observer.elapsed > success + _AFTER_SUCCESS_S:
            say(f'done: the scene reports success after {success:.1f} s')
            return


def state(status: PolicyStatus) -> str:
    """Return the state of the policy node, with the reason where it waits or has stopped."""
    return f'{status.state_text} ({status.reason})' if status.reason else status.state_text


def progress_line(observer: DemoObserver) -> str:
    """Return one line on the state of the policy node."""
    status = observer.status
    assert status is not None
    return (
        f'{state(status)}: {status.chunks_total} chunks, '
        f'{status.chunks_per_second:.1f}/s, observation to command '
        f'{status.latency_p50 * 1e3:.0f} ms p50, {status.latency_p95 * 1e3:.0f} ms p95'
    )


def write_results(
    options: argparse.Namespace, observer: DemoObserver, contract: RobotContract, say: Say
) -> None:
    """Write the film, the plot and the summary."""
    from vla_adapter_ros.evaluation.film import plot_joints, write_gif

    record = observer.recording
    summary = summary_line(options, observer)
    if record.frames:
        write_gif(options.out / 'demo.gif', record.frames, FILM_RATE)
    if record.measured:
        plot_joints(
            options.out / 'joints.png', _series(record.measured, contract),
            _series(record.commanded, contract), contract.names,
            f'"{options.instruction}" ({options.policy})',
        )
    (options.out / 'summary.txt').write_text(summary + '\n')
    say(f'wrote {options.out}/demo.gif, joints.png, summary.txt')
    print(summary)


def _series(
    rows: list[tuple[float, np.ndarray]], contract: RobotContract
) -> tuple[np.ndarray, np.ndarray]:
    if not rows:
        return np.zeros(0), np.zeros((0, len(contract.names)))
    return np.array([t for t, _ in rows]), np.stack([row for _, row in rows])


def summary_line(options: argparse.Namespace, observer: DemoObserver) -> str:
    """Return the one-line summary; honest about what runs."""
    record, status = observer.recording, observer.status
    assert status is not None
    first = '-' if record.first_motion is None else f'{record.first_motion:.1f} s'
    done = 'not done' if record.success is None else f'done after {record.success:.1f} s'
    if record.success is None and status.reason:
        done = f'not done, {state(status)} at the end'
    travelled = 0.0
    if record.measured:
        states = np.stack([row for _, row in record.measured])
        travelled = float(np.abs(np.diff(states[:, :-1], axis=0)).sum())
    return (
        f'"{options.instruction}": {done}; policy {status.policy}; first motion {first}; '
        f'{status.chunks_total} chunks, {status.latency_p50 * 1e3:.0f} ms p50 / '
        f'{status.latency_p95 * 1e3:.0f} ms p95 from observation to command; '
        f'joints travelled {travelled:.1f} rad'
    )


if __name__ == '__main__':
    main()
