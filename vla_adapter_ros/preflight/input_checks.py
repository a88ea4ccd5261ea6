# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Checks of a robot's topics, watched for a few seconds: cameras, joint states, gripper, clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vla_adapter_ros.control.plausibility import PlausibilityMonitor
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.preflight.checks import FAIL, PASS, SKIP, WARN, Check
from vla_adapter_ros.robot import alicia_d
from vla_adapter_ros.robot.camera_view import policy_image
from vla_adapter_ros.robot.contract import CameraSpec, RobotContract
from vla_adapter_ros.robot.joint_state import JointStateReader

# Stamps older than this on arrival, or ahead of the clock by as much, are of another clock [s].
_MAX_STAMP_AGE = 0.2
# The gripper may read as open by this much more than 1 or less than 0.
_GRIPPER_MARGIN = 0.1
# All joints closer to zero than this are the zero pose [rad].
_ZERO_POSE = 0.01


@dataclass
class TopicRecord:
    """The messages that arrived on one topic.

    Attributes:
        topic: resolved name.
        publishers: names of the nodes that publish it.
        arrivals: receive times [s].
        ages: receive time minus stamp, on the node's clock [s]; 0 without a stamp.
        last: newest message.
        distinct: number of messages with different content.
        other_topic: of a camera: that of the other image transport.
        other_publishers: names of the nodes that publish that.
    """

    topic: str
    publishers: list[str] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    last: Any = None
    distinct: int = 0
    other_topic: str = ''
    other_publishers: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Messages per second."""
        if len(self.arrivals) < 2:
            return 0.0
        return (len(self.arrivals) - 1) / (self.arrivals[-1] - self.arrivals[0])


def check_camera(
    name: str,
    record: TopicRecord,
    camera: CameraSpec,
    step_period: float,
) -> tuple[Check, np.ndarray | None]:
    """Return the verdict on a camera's topic, and its image rotated as for the policy."""
    title = f'{name} camera'
    if not record.arrivals:
        return Check(title, FAIL, silent_camera(record)), None
    try:
        image = policy_image(record.last, camera)
    except ObservationError as error:
        return Check(title, FAIL, f'{record.topic}: {error}'), None
    encoding = getattr(record.last, 'encoding', '') or f'compressed {record.last.format}'
    text = (
        f'{record.topic}: {camera.width}×{camera.height} {encoding}{_crop_text(camera)},'
        f' {record.rate:.1f} Hz,'
        f' {_age(record) * 1e3:.0f} ms old'
    )
    upright = np.ascontiguousarray(np.rot90(image, -camera.rotate // 90))
    verdict, fault = _camera_fault(record, step_period)
    return Check(title, verdict, f'{text}; {fault}' if fault else text), upright


def camera_problem(record: TopicRecord, camera: CameraSpec) -> str:
    """Return why a camera's images must not be used, in the node or a recording, or ''."""
    try:
        policy_image(record.last, camera)
    except ObservationError as error:
        return f'{record.topic}: {error}'
    fault = _source_problem(record)
    return f'{record.topic}: {fault}' if fault else ''


def _source_problem(record: TopicRecord) -> str:
    return _clock_fault(record) or multiple_publishers_problem(record.publishers)


def _crop_text(camera: CameraSpec) -> str:
    if camera.crop is None:
        return ''
    x, y, width, height = camera.crop
    return f' cropped to {width}×{height} at ({x}, {y})'


def _camera_fault(record: TopicRecord, step_period: float) -> tuple[str, str]:
    if fault := _source_problem(record):
        return FAIL, fault
    needed = 1.0 / step_period
    if record.rate < needed:
        return FAIL, (
            f'slower than the {needed:g} Hz of the policy: use MJPG or a smaller image, and a USB'
            f' port of its own'
        )
    if len(record.arrivals) > 5 and record.distinct == 1:
        return WARN, 'all images are identical: a frozen camera, or a simulation at rest'
    if record.rate < 2.0 * needed:
        return WARN, f'more than {2.0 * needed:g} Hz is better'
    return PASS, ''


def check_joint_states(
    record: TopicRecord, messages: Sequence[tuple[float, Any]], contract: RobotContract
) -> list[Check]:
    """Return the verdicts on joint states: present, readable, plausible, within limits."""
    title = 'joint states'
    if not messages:
        return [Check(title, FAIL, _silence(record, 'start the driver'))]
    state, fault = read_joint_states(record, messages, contract)
    if state is None:
        return [Check(title, FAIL, f'{record.topic}: {fault}')]
    text = f'{record.topic}: {record.rate:.0f} Hz from {", ".join(record.publishers) or "?"}'
    if not fault and record.rate < 1.0 / contract.step_period:
        fault = f'slower than the {1.0 / contract.step_period:g} Hz of the policy'
    checks = [Check(title, FAIL if fault else PASS, f'{text}; {fault}' if fault else text)]
    return [*checks, check_pose(state, contract), check_gripper_range(state, contract)]


def read_joint_states(
    record: TopicRecord, messages: Sequence[tuple[float, Any]], contract: RobotContract
) -> tuple[np.ndarray | None, str]:
    """Read messages as the policy node does.

    Args:
        record: publishers and ages.
        messages: time of arrival [s] and JointState, in order.
        contract: the robot.

    Returns:
        The newest state (J + 1,), None if they cannot be read or a joint is missing; why joint
        states must not be used, in the node or a recording, or ''.
    """
    reader, monitor = JointStateReader(contract), PlausibilityMonitor(contract)
    state, fault, arrival = None, '', 0.0
    try:
        for arrival, message in messages:
            reading = reader.receive(message.name, message.position, arrival, arrival)
            if reading is not None:
                state = reading.state
                fault = monitor.observe(state, arrival)
    except ObservationError as error:
        return None, reader.shared(record.publishers) or str(error)
    if missing := reader.missing(arrival):
        return None, missing
    fault = fault and f'{fault}; {alicia_d.joint_state_remedy(fault)}'
    return state, reader.shared(record.publishers) or fault or _clock_fault(record)


def check_pose(state: np.ndarray, contract: RobotContract) -> Check:
    """Return whether the measured joints (J + 1,) are within the contract's limits."""
    arm = state[:-1]
    text = ', '.join(f'{n} {q:+.2f}' for n, q in zip(contract.joint_names, arm))
    outside = [
        f'{joint.name} {q:+.3f} outside [{joint.lower:g}, {joint.upper:g}]'
        for joint, q in zip(contract.joints, arm)
        if not joint.lower <= q <= joint.upper
    ]
    if outside:
        return Check('pose', WARN, f'{"; ".join(outside)}: move the arm inside by hand first')
    if np.all(np.abs(arm) < _ZERO_POSE):
        text += ' (the zero pose: folded forward)'
    return Check('pose', PASS, f'{text} rad')


def check_gripper_range(state: np.ndarray, contract: RobotContract) -> Check:
    """Return whether the gripper reads as a fraction; a wrong stroke or sign may show here."""
    fraction, gripper = float(state[-1]), contract.gripper
    span = gripper.open_position - gripper.closed_position
    position = gripper.closed_position + fraction * span
    travel = ', '.join(f'{m:g} for {name}' for name, m in alicia_d.GRIPPER_TRAVEL_M.items())
    text = f'{position:.4f} reads as {fraction:.0%} open'
    if not -_GRIPPER_MARGIN <= fraction <= 1.0 + _GRIPPER_MARGIN:
        return Check(
            'gripper', FAIL,
            f'{text}: open_position {gripper.open_position:g} and closed_position'
            f' {gripper.closed_position:g} of the contract are not those of this gripper'
            f' (travel {travel} of the Alicia-D)',
        )
    return Check('gripper', PASS, f'{text} (confirm with --ask-gripper)')


def check_gripper_answer(fraction: float, answer: str) -> Check:
    """Return the verdict on the user's answer against the joint state."""
    expected = 'open' if fraction > 0.5 else 'closed'
    seen = answer.strip().lower()
    if seen not in ('open', 'closed'):
        return Check('gripper sign', SKIP, f'answered {answer!r}, expected open or closed')
    if 0.25 < fraction < 0.75:
        return Check(
            'gripper sign', SKIP,
            f'the gripper is half way ({fraction:.0%} open), so the answer proves nothing:'
            f' open or close it fully by hand and ask again',
        )
    if seen != expected:
        return Check(
            'gripper sign', FAIL,
            f'inverted: the state reads {expected} ({fraction:.0%} open), the gripper is {seen};'
            f' exchange open_position and closed_position in the contract, and check'
            f' gripper_open_command and gripper_closed_command',
        )
    return Check('gripper sign', PASS, f'state and answer agree: {expected}')


def check_clock(publishers: Sequence[str], simulated: bool) -> Check:
    """Return whether this robot's nodes should take time from /clock."""
    if publishers and not simulated:
        return Check(
            'clock', WARN, f'{", ".join(publishers)} publishes /clock but this check uses system'
            f' time: a simulation needs use_sim_time, a real robot no /clock'
        )
    if simulated and not publishers:
        return Check('clock', FAIL, 'use_sim_time is set but no node publishes /clock')
    return Check('clock', PASS, 'simulated time' if simulated else 'system time')


def silent_camera(record: TopicRecord) -> str:
    """Return why no image arrives, and what to do."""
    if record.other_publishers and not record.publishers:
        transport = 'raw' if record.topic.endswith('/compressed') else 'compressed'
        nodes = ', '.join(record.other_publishers)
        return (
            f'no node publishes {record.topic}, but {nodes} publishes {record.other_topic}: use'
            f' image_transport:={transport}'
        )
    return _silence(record, 'start its camera node')


def _silence(record: TopicRecord, remedy: str) -> str:
    if record.publishers:
        nodes = ', '.join(record.publishers)
        return (
            f'{nodes} publishes {record.topic} but nothing arrives: see its log and /diagnostics;'
            f' if it does send, the network drops it (large images need the Fast DDS profile in'
            f' config/)'
        )
    return f'no node publishes {record.topic}; {remedy}, or remap its topic'


# Of two nodes of one name, one may be the other's former process.
KILLED_NODE = 'one that was killed is announced by the middleware for some seconds (20 by default)'


def multiple_publishers_problem(publishers: Sequence[str]) -> str:
    """Return the message for a topic that more than one node publishes, or ''."""
    if len(publishers) < 2:
        return ''
    text = f'{len(publishers)} nodes publish it ({", ".join(publishers)}): stop all but one'
    if len(set(publishers)) < len(publishers):
        text += f'; {KILLED_NODE}'
    return text


def _age(record: TopicRecord) -> float:
    return float(np.median(record.ages)) if record.ages else 0.0


def _clock_fault(record: TopicRecord) -> str:
    age = _age(record)
    if age > _MAX_STAMP_AGE:
        hint = 'synchronise the clocks, or the source is too slow'
        return f'stamps are {age:.2f} s old on arrival: {hint}'
    if age < -_MAX_STAMP_AGE:
        return f'stamps are {-age:.2f} s in the future: synchronise the clocks of the machines'
    return ''
