# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Everything the policy node publishes: commands, chunks, status, diagnostics."""

from __future__ import annotations

import re
import time
from array import array

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from std_msgs.msg import Header, String
from visualization_msgs.msg import Marker

from vla_adapter_ros.control.front_ends import Command
from vla_adapter_ros.control.loop import ControlLoop
from vla_adapter_ros.control.status import STATES, LoopStatus, loop_status
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.motion.plan import MotionPlan
from vla_adapter_ros.msg import ActionChunk as ActionChunkMsg
from vla_adapter_ros.msg import PolicyStatus
from vla_adapter_ros.nodes.common.arm_commands import CommandPublishers
from vla_adapter_ros.nodes.common.arm_graph import Endpoint
from vla_adapter_ros.nodes.common.messages import (
    COMMAND,
    EVERY,
    LATCHED,
    chunk_message,
    to_time,
)
from vla_adapter_ros.nodes.common.node_clock import NodeClock
from vla_adapter_ros.nodes.policy.plan_marker import plan_marker
from vla_adapter_ros.robot.kinematics import Kinematics

_REPEAT_PERIOD_S = 1.0
_FIGURES = re.compile(r'\d+(\.\d+)?')
_LEVELS = {
    'INACTIVE': DiagnosticStatus.OK,
    'READY': DiagnosticStatus.OK,
    'RUNNING': DiagnosticStatus.OK,
    'WAITING_FOR_INPUT': DiagnosticStatus.WARN,
    'HOLDING': DiagnosticStatus.WARN,
    'TRIPPED': DiagnosticStatus.ERROR,
}


class PolicyOutputs:
    """The publishers of the policy node; implements the control loop's `LoopOutputs`.

    Publishers exist in every lifecycle state, so that a hold can be sent while deactivating and a
    status can say that the node is inactive.

    Args:
        node: owns the publishers.
        clock: of the node; the loop's times are on its motion clock.
    """

    def __init__(self, node: Node, clock: NodeClock) -> None:
        self._node = node
        self._clock = clock
        self._log = node.get_logger()
        self._chunks = node.create_publisher(ActionChunkMsg, '~/action_chunk', EVERY)
        self._heartbeats = node.create_publisher(Header, '~/heartbeat', EVERY)
        self._status = node.create_publisher(PolicyStatus, '~/status', LATCHED)
        self._instruction = node.create_publisher(String, '~/instruction', LATCHED)
        self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', EVERY)
        self._paths = node.create_publisher(Marker, '~/plan_path', COMMAND)
        self._commands: CommandPublishers | None = None
        self._kinematics: Kinematics | None = None
        self._loop: ControlLoop | None = None
        self._policy = self._image_transport = self._frame_prefix = ''
        # Prefix of a message → when it was logged, for those of the last moment.
        self._logged: dict[str, float] = {}
        self._last_trace = ''

    def attach(
        self,
        loop: ControlLoop | None,
        policy: str = '',
        kinematics: Kinematics | None = None,
        image_transport: str = '',
        frame_prefix: str = '',
    ) -> None:
        """Publish for this loop from now on (None: unconfigured); policy is what runs."""
        self._loop, self._policy, self._kinematics = loop, policy, kinematics
        self._image_transport, self._frame_prefix = image_transport, frame_prefix
        self.connect(False)
        self.connect(loop is not None and not loop.dry_run)

    def connect(self, on: bool) -> None:
        """Make the publishers of commands, or close them: in a dry run there are none."""
        if on == (self._commands is not None):
            return
        commands, self._commands = self._commands, None
        if commands is not None:
            commands.close()
        elif self._loop is not None:
            self._commands = CommandPublishers(self._node, self._loop.contract)

    def endpoints(self) -> set[Endpoint]:
        """Return the endpoints of the publishers of commands."""
        return set() if self._commands is None else self._commands.endpoints

    # LoopOutputs.

    def send(self, command: Command) -> None:
        """Publish one command to the driver."""
        assert self._commands is not None
        self._commands.send(command)

    def heartbeat(self, stamp: float) -> None:
        """Publish up to which time the loop has acted, if anyone listens."""
        if self._heartbeats.get_subscription_count():
            self._heartbeats.publish(Header(stamp=to_time(stamp)))

    def chunk(self, chunk: ActionChunk, sequence: int) -> None:
        """Publish the raw chunk."""
        assert self._loop is not None
        contract = self._loop.contract
        names = contract.names
        if contract.action_space == 'ee_delta':
            names = ('x', 'y', 'z', 'rx', 'ry', 'rz', contract.gripper.name)
        self._chunks.publish(
            chunk_message(chunk, sequence, contract.action_space, names, self._now())
        )

    def plan(self, plan: MotionPlan) -> None:
        """Publish the tool's path along the plan, if anyone looks and kinematics are known."""
        if self._kinematics is None or not self._paths.get_subscription_count():
            return
        assert self._loop is not None and self._loop.contract.kinematics is not None
        frame = f'{self._frame_prefix}{self._loop.contract.kinematics.base}'
        self._paths.publish(plan_marker(plan, self._kinematics, frame, self._now()))

    def instruction(self, instruction: str) -> None:
        """Publish the instruction in force."""
        self._instruction.publish(String(data=instruction))

    def info(self, text: str) -> None:
        """Log for information."""
        self._log.info(text)

    def warning(self, text: str) -> None:
        """Log a warning; messages with the same prefix at most once per second."""
        if not self._logged_recently(text):
            self._log.warning(text)

    def error(self, text: str, trace: str = '') -> None:
        """Log an error, messages with the same prefix at most once per second.

        Its traceback is logged once: a policy that fails in every cycle fails in one way.
        """
        if self._logged_recently(text):
            return
        self._log.error(text)
        if trace and trace != self._last_trace:
            self._last_trace = trace
            self._log.error(trace)

    def _logged_recently(self, text: str) -> bool:
        # rclpy's own throttle works by line of code: it would swallow a second, other reason.
        # Figures differ from one message to the next.
        topic, now = _FIGURES.sub('#', text.partition(':')[0]), time.monotonic()
        self._logged = {k: t for k, t in self._logged.items() if now - t < _REPEAT_PERIOD_S}
        return self._logged.setdefault(topic, now) != now

    def changed(self) -> None:
        """Publish the status now."""
        self.publish_status()

    def stamp(self) -> float:
        """Return the robot's clock [s], for what is published."""
        return self._clock.stamp()

    # Reports.

    def _now(self) -> object:
        return self._node.get_clock().now().to_msg()

    def publish_status(self) -> None:
        """Publish `~/status`."""
        self._status.publish(self._status_message(loop_status(self._loop, self._clock.now())))

    def _status_message(self, status: LoopStatus) -> PolicyStatus:
        return PolicyStatus(
            stamp=self._now(),
            state=STATES.index(status.state),
            state_text=status.state,
            reason=status.reason,
            enabled=status.enabled,
            dry_run=status.dry_run,
            speed_scale=status.speed_scale,
            policy=self._policy,
            instruction=status.instruction,
            executing_instruction=status.executing_instruction,
            chunks_total=status.chunks,
            chunks_per_second=status.chunk_rate,
            latency_p50=status.latency[0],
            latency_p95=status.latency[1],
            dropped_steps=status.passed_steps,
            skip_reasons=list(status.skips),
            skip_counts=array('Q', status.skips.values()),
            joint_names=list(status.clamps),
            clamp_counts=array('Q', status.clamps.values()),
            input_names=[i.name for i in status.inputs],
            input_rates=array('d', [i.rate for i in status.inputs]),
            input_expected_rates=array('d', [i.expected_rate for i in status.inputs]),
            input_ages=array('d', [i.age for i in status.inputs]),
            last_error=status.last_error,
            last_error_stamp=to_time(status.last_error_stamp),
        )

    def publish_diagnostics(self) -> None:
        """Publish `/diagnostics`: one entry for the loop, one for each input."""
        status = loop_status(self._loop, self._clock.now())
        name = self._node.get_fully_qualified_name().lstrip('/')
        message = DiagnosticArray()
        message.header.stamp = self._now()
        level = _LEVELS[status.state]
        text = f'{status.state}: {status.reason}' if status.reason else status.state
        values = {'image transport': self._image_transport, **_loop_values(status)}
        message.status = [self._entry(f'{name}: policy', level, text, values)]
        for entry in status.inputs:
            level = DiagnosticStatus.WARN if entry.problem else DiagnosticStatus.OK
            values = {
                'rate [Hz]': entry.rate,
                'expected rate [Hz]': entry.expected_rate,
                'age [s]': entry.age,
                'jitter [s]': entry.jitter,
            }
            text = entry.problem or 'fresh'
            message.status.append(self._entry(f'{name}: {entry.name}', level, text, values))
        self._diagnostics.publish(message)

    def _entry(
        self, name: str, level: bytes, text: str, values: dict[str, object]
    ) -> DiagnosticStatus:
        return DiagnosticStatus(
            name=name,
            hardware_id=self._loop.contract.name if self._loop else '',
            level=level,
            message=text,
            values=[KeyValue(key=k, value=_shown(v)) for k, v in values.items()],
        )


def _loop_values(status: LoopStatus) -> dict[str, object]:
    values: dict[str, object] = {
        'dry run': status.dry_run,
        'speed scale': status.speed_scale,
        'instruction': status.instruction,
        'executing': status.executing_instruction,
        'chunks': status.chunks,
        'chunks accepted': status.accepted,
        'chunks per second': status.chunk_rate,
        'remaining steps': status.remaining_steps,
        'last error': status.last_error,
    }
    for stage, percentiles in status.stages.items():
        p50, p95, p99 = (1e3 * p for p in percentiles)
        values[f'{stage} p50/p95/p99 [ms]'] = f'{p50:.1f} / {p95:.1f} / {p99:.1f}'
    values.update({f'steps dropped: {reason}': n for reason, n in status.dropped.items()})
    values.update({f'cycles skipped: {reason}': n for reason, n in status.skips.items()})
    values.update({f'clamps: {joint}': n for joint, n in status.clamps.items()})
    values.update({f'plans: {kind}': n for kind, n in status.plans_by_kind.items()})
    return values


def _shown(value: object) -> str:
    return f'{value:.3f}' if isinstance(value, (float, np.floating)) else str(value)
