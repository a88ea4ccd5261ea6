# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Verdicts on what a robot's topics showed in a few seconds (nodes/policy/preflight.py)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vla_adapter_ros.control.plausibility import PlausibilityMonitor
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.preflight.checks import FAIL, PASS, SKIP, WARN, Check
from vla_adapter_ros.robot.camera_view import camera_picture
from vla_adapter_ros.robot.contract import CameraSpec, RobotContract
from vla_adapter_ros.robot.joint_state import JointStateReader

# Stamps older than this on arrival, or ahead of the clock by as much, are of another clock [s].
_MAX_STAMP_AGE = 0.2
_GRIPPER_MARGIN = 0.1
_ZERO_POSE = 0.01
# A joint that was not asked to move may sag by this [rad].
_OTHER_JOINT = 0.02
# A gripper this far from where it was sent reads in other units than it is commanded in.
_GRIPPER_ERROR = 0.15
# Commands of the vendor's two front ends, to say which of them is running.
OTHER_FRONT_END = {
    'joint_trajectory': ('/joint_commands', 'the standalone node', 'alicia_d_standalone'),
    'joint_commands': ('/Alicia_controller/joint_trajectory', 'ros2_control', 'alicia_d'),
}


@dataclass
class TopicRecord:
    """What arrived on one topic.

    Attributes:
        topic: resolved name.
        publishers: names of the nodes that publish it.
        arrivals: receive times [s].
        ages: receive time minus stamp, on the node's clock [s].
        last: newest message.
        distinct: how many different messages came, told by their content.
    """

    topic: str
    publishers: list[str] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    last: Any = None
    distinct: int = 0

    @property
    def rate(self) -> float:
        """Messages per second."""
        if len(self.arrivals) < 2:
            return 0.0
        return (len(self.arrivals) - 1) / (self.arrivals[-1] - self.arrivals[0])


def check_camera(
    name: str, record: TopicRecord, camera: CameraSpec, step_period: float
) -> tuple[Check, np.ndarray | None]:
    """Return the verdict on a camera's topic, and its image turned as the policy gets it."""
    title = f'{name} camera'
    if not record.arrivals:
        return Check(title, FAIL, _silence(record, 'start its camera node')), None
    try:
        image = camera_picture(record.last, camera)
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


def _crop_text(camera: CameraSpec) -> str:
    if camera.crop is None:
        return ''
    x, y, width, height = camera.crop
    return f' cropped to {width}×{height} at ({x}, {y})'


def _camera_fault(record: TopicRecord, step_period: float) -> tuple[str, str]:
    if fault := _clock_fault(record) or several(record.publishers):
        return FAIL, fault
    needed = 1.0 / step_period
    if record.rate < needed:
        return FAIL, (
            f'slower than the {needed:g} Hz of the policy: use MJPG or a smaller image, and a USB'
            f' port of its own'
        )
    if len(record.arrivals) > 5 and record.distinct == 1:
        return WARN, 'every image is the same: a frozen camera, or a simulation at rest'
    if record.rate < 2.0 * needed:
        return WARN, f'more than {2.0 * needed:g} Hz is better'
    return PASS, ''


def check_joint_states(
    record: TopicRecord, messages: Sequence[tuple[float, Any]], contract: RobotContract
) -> list[Check]:
    """Return the verdicts on joint states: there, readable, plausible, within limits."""
    title = 'joint states'
    if not messages:
        return [Check(title, FAIL, _silence(record, 'start the driver'))]
    reader, monitor = JointStateReader(contract), PlausibilityMonitor(contract)
    fault = ''
    try:
        for arrival, message in messages:
            state = reader.read(message.name, message.position)
            fault = monitor.observe(state, arrival)
    except ObservationError as error:
        hint = 'does the contract name the joints of this driver?'
        return [Check(title, FAIL, f'{record.topic}: {error}; {hint}')]
    text = f'{record.topic}: {record.rate:.0f} Hz from {", ".join(record.publishers) or "?"}'
    fault = fault and f'{fault}; {_remedy(fault)}'
    fault = fault or _clock_fault(record) or several(record.publishers)
    if not fault and record.rate < 1.0 / contract.step_period:
        fault = f'slower than the {1.0 / contract.step_period:g} Hz of the policy'
    checks = [Check(title, FAIL if fault else PASS, f'{text}; {fault}' if fault else text)]
    return [*checks, check_pose(state, contract), check_gripper_range(state, contract)]


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
    position = gripper.closed_position + fraction * (
        gripper.open_position - gripper.closed_position
    )
    text = f'{position:.4f} reads as {fraction:.0%} open'
    if not -_GRIPPER_MARGIN <= fraction <= 1.0 + _GRIPPER_MARGIN:
        return Check(
            'gripper', FAIL,
            f'{text}: open_position {gripper.open_position:g} and closed_position'
            f' {gripper.closed_position:g} of the contract are not those of this gripper'
            f' (stroke 0.025 for 50 mm, 0.05 for 100 mm)',
        )
    return Check('gripper', PASS, f'{text} (confirm with --ask-gripper)')


def judge_gripper_answer(fraction: float, answer: str) -> Check:
    """Return the verdict of the guided check: what a person sees against what the state says."""
    says = 'open' if fraction > 0.5 else 'closed'
    seen = answer.strip().lower()
    if seen not in ('open', 'closed'):
        return Check('gripper sign', SKIP, f'answered {answer!r}, expected open or closed')
    if 0.25 < fraction < 0.75:
        return Check(
            'gripper sign', SKIP,
            f'the gripper is half way ({fraction:.0%} open), so neither answer proves anything:'
            f' open or close it fully by hand and ask again',
        )
    if seen != says:
        return Check(
            'gripper sign', FAIL,
            f'inverted: the state says {says} ({fraction:.0%} open), the gripper is {seen};'
            f' exchange open_position and closed_position in the contract, and check'
            f' gripper_open_command and gripper_closed_command',
        )
    return Check('gripper sign', PASS, f'state and eye agree: {says}')


def check_driver(
    contract: RobotContract,
    listeners: dict[str, list[str]],
    commanders: dict[str, list[str]],
    own: Sequence[str] = ('vla_adapter',),
) -> Check:
    """Return whether a driver of the contract's front end listens, and nobody else commands it.

    Args:
        contract: names the topics.
        listeners: topic → nodes that subscribe.
        commanders: topic → nodes that publish.
        own: nodes that are meant to command.
    """
    front_end = contract.front_end
    topics = [t for t in (front_end.arm_topic, front_end.gripper_topic) if t]
    for topic in topics:
        if not listeners.get(topic):
            other, name, robot = OTHER_FRONT_END[front_end.kind]
            hint = 'start the driver, or the simulation (sim:=true)'
            if listeners.get(other):
                hint = f'the driver that runs is {name}: use robot:={robot}'
            return Check('driver', FAIL, f'nobody listens on {topic}; {hint}')
    strangers = sorted({n for t in topics for n in commanders.get(t, []) if n not in own})
    nodes = ', '.join(sorted({n for t in topics for n in listeners[t]}))
    if strangers:
        return Check(
            'driver', FAIL, f'{nodes} is also commanded by {", ".join(strangers)}; stop it'
        )
    return Check('driver', PASS, f'{nodes} listens on {", ".join(topics)}')


def look_at_driver(
    contract: RobotContract,
    resolve: Callable[[str], str],
    listeners: Callable[[str], list[str]],
    publishers: Callable[[str], list[str]],
    own: Sequence[str] = ('vla_adapter',),
) -> Check:
    """Return `check_driver`'s verdict on the graph that three functions of a node show."""
    front_end = contract.front_end
    other = OTHER_FRONT_END[front_end.kind][0]
    topics = [t for t in (front_end.arm_topic, front_end.gripper_topic, other) if t]
    names = {topic: resolve(topic) for topic in topics}
    return check_driver(
        contract,
        {topic: listeners(name) for topic, name in names.items()},
        {topic: publishers(name) for topic, name in names.items()},
        own,
    )


def check_driver_settings(
    speed_deg_s: float | None, stroke: float | None, contract: RobotContract
) -> list[Check]:
    """Return verdicts on the driver's speed and gripper type, where they could be read."""
    checks = []
    if speed_deg_s is None:
        checks.append(Check('driver speed', SKIP, 'the driver does not tell it'))
    else:
        speed, fastest = math.radians(speed_deg_s), float(contract.max_velocity[:-1].max())
        text = f'{speed_deg_s:g} deg/s = {speed:.2f} rad/s'
        if contract.front_end.kind == 'joint_commands':
            checks.append(Check('driver speed', PASS, f'{text}; each command carries its own'))
        elif speed < fastest:
            checks.append(Check(
                'driver speed', WARN,
                f'{text}, motion is planned for up to {fastest:.2f} rad/s and would lag behind:'
                f' tell the policy node speed_deg_s:={speed_deg_s:g} (first motions), or start the'
                f' driver with speed_deg_s:={math.ceil(math.degrees(fastest))}',
            ))
        else:
            checks.append(Check('driver speed', PASS, text))
    if stroke is not None:
        travel = abs(contract.gripper.open_position - contract.gripper.closed_position)
        same = math.isclose(stroke, travel, rel_tol=0.02)
        text = f'the driver has {stroke:g} m of travel, the contract {travel:g} m'
        hint = '' if same else '; set gripper_type of the driver or closed_position right'
        checks.append(Check('gripper type', PASS if same else FAIL, text + hint))
    return checks


def read_description(text: str) -> tuple[float | None, float | None]:
    """Return speed [deg/s] and gripper travel [m] from a robot description's ros2_control tag."""
    def value(name: str) -> str:
        found = re.search(rf'<param\s+name="{name}"\s*>\s*([^<\s]+)\s*</param>', text)
        return found.group(1) if found else ''

    speed, kind = value('default_speed_deg_s'), value('gripper_type')
    stroke = {'50mm': 0.025, '100mm': 0.05}.get(kind)
    try:
        return (float(speed) if speed else None), stroke
    except ValueError:
        return None, stroke


def judge_small_motion(
    index: int, target: float, before: np.ndarray, after: np.ndarray, contract: RobotContract
) -> Check:
    """Return whether one joint, and no other, moved to where it was sent.

    Args:
        index: of the joint in contract order; the last is the gripper.
        target: where it was sent [rad, or open fraction].
        before: (J + 1,) measured before.
        after: (J + 1,) measured after.
        contract: names the joints.
    """
    names, moved = contract.names, after - before
    gripper = index == len(names) - 1
    title, unit = f'{names[index]} motion', 'open fraction' if gripper else 'rad'
    text = f'sent from {before[index]:+.3f} to {target:+.3f}, measured {after[index]:+.3f} {unit}'
    others = {
        name: float(change)
        for i, (name, change) in enumerate(zip(names[:-1], moved[:-1]))
        if i != index and abs(change) > _OTHER_JOINT
    }
    if others:
        which = ', '.join(f'{name} {change:+.3f}' for name, change in others.items())
        return Check(
            title, FAIL, f'{text}, but {which} rad moved too: joint names and wiring do not agree'
        )
    share = float(moved[index] / (target - before[index]))
    if share < -0.3 or (gripper and share > 0.3 and abs(after[index] - target) > _GRIPPER_ERROR):
        hint = 'check gripper_open_command and open_position of the contract' if gripper else (
            'check the vendor\'s URDF and driver version'
        )
        return Check(
            title, FAIL, f'{text}: command and state have different signs or scales; {hint}'
        )
    if share < 0.6:
        return Check(
            title, FAIL, f'{text}: it did not follow; torque off, blocked, commanded by another'
            f' program, or the driver is slower than 5 deg/s'
        )
    return Check(title, PASS, text)


def check_clock(publishers: Sequence[str], simulated: bool) -> Check:
    """Return whether this robot's nodes should take time from /clock."""
    if publishers and not simulated:
        return Check(
            'clock', WARN, f'{", ".join(publishers)} publishes /clock but this check uses system'
            f' time: a simulation needs use_sim_time, a real robot no /clock'
        )
    if simulated and not publishers:
        return Check('clock', FAIL, 'use_sim_time is set but nobody publishes /clock')
    return Check('clock', PASS, 'simulated time' if simulated else 'system time')


def _silence(record: TopicRecord, remedy: str) -> str:
    if record.publishers:
        nodes = ', '.join(record.publishers)
        return (
            f'{nodes} offers {record.topic} but sends nothing: see its log and /diagnostics; if it'
            f' does send, the network drops it (large images need the Fast DDS profile in config/)'
        )
    return f'nobody publishes {record.topic}; {remedy}, or name its topic'


def several(publishers: Sequence[str]) -> str:
    """Return that more than one node publishes a topic, or ''."""
    if len(publishers) > 1:
        return f'{len(publishers)} nodes publish it ({", ".join(publishers)}): stop all but one'
    return ''


def _age(record: TopicRecord) -> float:
    return float(np.median(record.ages)) if record.ages else 0.0


def _clock_fault(record: TopicRecord) -> str:
    age = _age(record)
    if age > _MAX_STAMP_AGE:
        return f'stamps are {age:.2f} s old on arrival: synchronise the clocks, or it is too slow'
    if age < -_MAX_STAMP_AGE:
        return f'stamps are {-age:.2f} s in the future: synchronise the clocks of the machines'
    return ''


def _remedy(fault: str) -> str:
    if 'exactly zero' in fault:
        return 'check the arm\'s power and cable; its firmware must fit the driver (6.1)'
    if 'raw zero' in fault:
        return 'restart the driver and power-cycle the arm'
    return 'check the arm before anything moves'
