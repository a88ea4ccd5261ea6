# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Measure the running node: latency from camera to command, the part outside the policy, CPU.

    python -m benchmarks.control_loop

Starts the policy node with an arm and two 640×480 cameras at 30 Hz, first not enabled (idle),
then enabled (active), and reads what the node itself reports. The simulation renders on the
processor that it shares with the node; `--source cameras` takes two camera nodes with generated
images and the emulated driver in its place, which cost what they cost on a robot.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from std_srvs.srv import SetBool

from benchmarks.common import cpu_seconds
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.bringup.bringup import Bringup, namespace_arguments
from vla_adapter_ros.nodes.bringup.launch_model import NodeProcess
from vla_adapter_ros.nodes.bringup.nodes_to_start import nodes_to_start
from vla_adapter_ros.nodes.common.dds_profile import use_shipped_profile
from vla_adapter_ros.nodes.common.messages import EVERY
from vla_adapter_ros.robot.contract import resolve_contract


def main(words: Sequence[str] | None = None) -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.control_loop',
        description='Measure the running node: latency from camera to command, and its CPU load.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--policy', default='hold', help='hold, random, expert or checkpoint')
    parser.add_argument(
        '--policy-server', default='', help='with --policy checkpoint: asked in its place'
    )
    parser.add_argument(
        '--source', default='sim', choices=('sim', 'cameras'), help='of images and joint states'
    )
    parser.add_argument('--robot', default='alicia_d', help='robot contract (sets image sizes)')
    parser.add_argument('--seconds', type=float, default=20.0, help='of each of the two phases')
    parser.add_argument('--json', type=Path, help='write the figures to this file')
    options = parser.parse_args(words)
    try:
        figures = measure(options)
    except VLAAdapterError as error:
        sys.exit(f'error: {error}')
    for name, value in figures.items():
        print(f'{name:42} {value}')
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + '\n')


def measure(options: argparse.Namespace) -> dict[str, str]:
    """Return name → figure, as text with units."""
    policy = {
        'policy': options.policy, 'robot': options.robot, 'enable': 'false',
        'instruction': 'reach the red block', 'policy_server': options.policy_server,
    }  # fmt: skip
    if options.source == 'sim':
        processes = nodes_to_start({**policy, 'sim': 'true'})
    else:
        processes = [*_bench_processes(options.robot), *nodes_to_start(policy)]
    # As often as possible: every inference is one measurement.
    processes = [
        replace(p, parameters={**p.parameters, 'execute_steps': 1}) if p.lifecycle else p
        for p in processes
    ]
    use_shipped_profile(sim=True)
    with Bringup(processes, Path('log') / 'control_loop_benchmark', lambda line: None) as bringup:
        bringup.activate()
        rclpy.init(args=['--ros-args', *namespace_arguments(processes[-1].namespace)])
        try:
            return _phases(_Listener(), bringup.process_ids['vla_adapter'], options.seconds)
        finally:
            rclpy.try_shutdown()


def _bench_processes(robot: str) -> list[NodeProcess]:
    """Return cameras and a driver that need no rendering."""
    common: dict[str, Any] = {'namespace': '', 'remappings': (), 'log_level': 'warn'}
    cameras = [
        NodeProcess('usb_camera', f'{name}_camera', parameters={
            'camera': name, 'device': 'generated', 'width': camera.width, 'height': camera.height,
        }, **common)
        for name, camera in resolve_contract(robot).cameras.items()
    ]  # fmt: skip
    driver = {'startup_motion': False, 'default_speed_deg_s': 90.0}
    return [
        NodeProcess(
            'emulated_ros2_control', 'controller_manager', parameters=driver, **common
        ),
        *cameras,
    ]


def _phases(listener: _Listener, process: int, seconds: float) -> dict[str, str]:
    idle = _cpu_cores(listener, process, seconds)
    listener.enable()
    active = _cpu_cores(listener, process, seconds)
    values = listener.values
    figures = {'CPU of the node, idle [cores]': f'{idle:.2f}',
               'CPU of the node, active [cores]': f'{active:.2f}',
               'chunks per second': values.get('chunks per second', '?')}  # fmt: skip
    for name, value in values.items():
        if '[ms]' in name:
            figures[name] = value
    return figures


def _cpu_cores(listener: _Listener, process: int, seconds: float) -> float:
    begin, before = time.monotonic(), cpu_seconds(process)
    listener.spin(seconds)
    return (cpu_seconds(process) - before) / (time.monotonic() - begin)


class _Listener(Node):
    def __init__(self) -> None:
        super().__init__('control_loop_benchmark')
        self.values: dict[str, str] = {}
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, EVERY)
        self._enable = self.create_client(SetBool, 'vla_adapter/enable')

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for entry in message.status:
            if entry.name.endswith('vla_adapter: policy'):
                self.values = {item.key: item.value for item in entry.values}

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rclpy.spin_once(self, timeout_sec=0.1)

    def enable(self) -> None:
        if not self._enable.wait_for_service(10.0):
            raise VLAAdapterError('service vla_adapter/enable did not appear within 10 s')
        future = self._enable.call_async(SetBool.Request(data=True))
        rclpy.spin_until_future_complete(self, future, timeout_sec=10.0)
        answer = future.result()
        if answer is None or not answer.success:
            reason = answer.message if answer else 'no answer within 10 s'
            raise VLAAdapterError(f'motion was not enabled: {reason}')


if __name__ == '__main__':
    main()
