# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What a bag holds for episodes, read once: joint states, when images were taken, commands, task.

Images are read on demand, by `BagEpisode`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.control.observation_inputs import InputSettings
from vla_adapter_ros.data.bags.alignment import NANOSECONDS, ascending, check_one_clock
from vla_adapter_ros.data.bags.commands import Commands, CommandTrack, command_tracks
from vla_adapter_ros.data.bags.file import HEADER_BYTES, BagFile, header_stamp
from vla_adapter_ros.data.bags.measured import trim_unmeasured
from vla_adapter_ros.data.bags.metadata import INSTRUCTION
from vla_adapter_ros.data.bags.streams import ImageStamps, JointTrack
from vla_adapter_ros.data.bags.topics import JOINTS, choose_topics, topic_roles
from vla_adapter_ros.errors import DatasetError, ObservationError
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.joint_state import JointStateReader

ACTIONS = ('auto', 'commands', 'next_state')
NO_OP_FILTERS = ('off', 'ends', 'all')
GRIPPERS = ('recorded', 'threshold')
# How far from its arrival a trajectory's stamp may usually be [s].
_USUAL_START = 0.5


@dataclass(frozen=True)
class BagOptions:
    """How bags are read.

    Attributes:
        topics: role → topic, in place of those the bag names or that are found by name.
        instruction: in place of the recorded one.
        actions: `commands`, `next_state`, or `auto` (commands if there are any).
        no_op_filter: see `drop_idle_frames`.
        no_op_tolerance: change of an action that counts as idle [rad, open fraction]; None: 1e-3
            of commands, two counts of a servo (3.1e-3 rad) of measured positions.
        gripper: where the gripper was not commanded, its measured opening is the action;
            `threshold` makes openings below `gripper_closed_below` a closed gripper (0): fingers
            that were stopped by an object shall press on it.
        gripper_closed_below: open fraction.
        fps: frames per second; None: the contract's rate.
        limits: oldest inputs and largest skew of a frame; those of the policy node.
        split_on_instruction: an episode ends where the instruction changes, another begins.
        split_on_gaps: likewise where a camera or the joint states pause for longer [s]; None:
            such a bag is refused if the pause is longer than `limits` allow.

    Raises:
        DatasetError: options that contradict each other.
    """

    topics: Mapping[str, str] = field(default_factory=dict)
    instruction: str | None = None
    actions: str = 'auto'
    no_op_filter: str = 'off'
    no_op_tolerance: float | None = None
    gripper: str = 'recorded'
    gripper_closed_below: float = 0.5
    fps: int | None = None
    limits: InputSettings = field(default_factory=InputSettings)
    split_on_instruction: bool = False
    split_on_gaps: float | None = None

    def __post_init__(self) -> None:
        if self.split_on_instruction and self.instruction is not None:
            raise DatasetError('instruction: give one, or split where it changes, not both')
        if self.split_on_gaps is not None and not 0 < self.split_on_gaps < np.inf:
            raise DatasetError(f'split_on_gaps: got {self.split_on_gaps:g} s, expected over 0')

    def frame_period(self, contract: RobotContract) -> int:
        """Return the time between two frames [ns]."""
        seconds = contract.step_period if self.fps is None else 1.0 / self.fps
        return round(seconds * NANOSECONDS)


class BagContents:
    """The streams of a bag.

    Args:
        path: the bag.
        contract: in place of the bag's own, which it must agree with.
        options: how it is read.

    Attributes:
        place: the bag, for messages.
        joints: joint states as measured.
        cameras: camera → when its images were taken.
        texts: (time [ns], text) of each instruction that was published, on the stamps' clock.
        first_text: the instruction that was set before the recording, or None.
        success: as marked at its end.
        damaged: topic → messages that cannot be read.
        warnings: what its user should look at.

    Raises:
        DatasetError: anything that would make the data wrong; the message names bag, stream and
            time.
    """

    def __init__(
        self,
        path: str | Path,
        contract: RobotContract | None = None,
        options: BagOptions | None = None,
    ) -> None:
        self.path = Path(path)
        self.options = options = options or BagOptions()
        self.place = f'bag {self.path.name}'
        if options.actions not in ACTIONS:
            raise DatasetError(f'actions: got {options.actions!r}, expected one of {ACTIONS}')
        self._file: BagFile | None = None
        try:
            self._read(self.opened(), contract)
        except BaseException:
            self.close()
            raise

    def _read(self, bag: BagFile, contract: RobotContract | None) -> None:
        self.contract = _agreed_contract(bag, contract)
        roles = topic_roles(self.contract)
        recorded = {r: t for r, t in bag.recorded_topics.items() if r in roles}
        named = recorded | dict(self.options.topics)
        self.topics = choose_topics(bag.types, self.contract, named, self.path.name)
        self.damaged: Counter[str] = Counter()
        self.joints, trimmed = self._read_joints(bag)
        self.warnings = [trimmed] if trimmed else []
        self.cameras = {c: self._read_stamps(bag, t) for c, t in self.topics.cameras.items()}
        self._check_clocks()
        self.first_text = bag.custom.get(INSTRUCTION, '').strip() or None
        self.texts = self._read_texts(bag)
        self._commands = self._read_commands(bag)
        self._tracks: dict[tuple[int, int], tuple[CommandTrack, CommandTrack]] = {}
        self.success = bag.success

    def opened(self) -> BagFile:
        """Return the bag; it stays open until `close`."""
        if self._file is None:
            self._file = BagFile(self.path)
        return self._file

    def close(self) -> None:
        """Close the bag; reading images opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def stamps(self) -> dict[str, np.ndarray]:
        """Stream → (N,) stamps [ns], ascending: those of all cameras and the joint states."""
        found = {camera: stream.stamps for camera, stream in self.cameras.items()}
        return found | {JOINTS: self.joints.stamps}

    def _read_joints(self, bag: BagFile) -> tuple[JointTrack, str]:
        topic = self.topics.joint_states
        limit = self.options.limits.max_joint_state_age * NANOSECONDS
        reader = JointStateReader(self.contract, limit)
        stamps, times, states, last = [], [], [], 0
        for message in bag.messages(topic):
            try:
                decoded = bag.decode(topic, message.data)
                stamp = header_stamp(message.data) or message.time
            except DatasetError:
                self.damaged[topic] += 1
                continue
            try:
                reading = reader.receive(decoded.name, decoded.position, stamp, message.time)
            except ObservationError as error:
                at = (message.time - times[0]) / NANOSECONDS if times else 0.0
                raise DatasetError(f'{self.place}: {topic}: at {at:.2f} s: {error}') from error
            if reading is not None:
                states.append(reading.state)
                stamps.append(reading.stamp)
                times.append(message.time)
            last = message.time
        if not states:
            raise DatasetError(
                f'{self.place}: {topic}: {reader.missing(last) or "no joint states"}'
            )
        order = ascending(np.array(stamps), f'{self.place}: {topic}')
        rows = np.array(stamps)[order], np.array(times)[order], np.stack(states)[order]
        return trim_unmeasured(JointTrack(*rows), self.contract, f'{self.place}: {topic}')

    def _read_stamps(self, bag: BagFile, topic: str) -> ImageStamps:
        """Read the stamps of a topic's messages; without stamps, when they were recorded."""
        stamps, times, numbers, recorded = [], [], [], []
        for number, message in enumerate(bag.messages(topic, HEADER_BYTES)):
            recorded.append(message.time)
            try:
                stamps.append(header_stamp(message.data) or message.time)
            except DatasetError:
                self.damaged[topic] += 1
                continue
            numbers.append(number)
            times.append(message.time)
        found = np.array(stamps, np.int64)
        order = ascending(found, f'{self.place}: {topic}')
        return ImageStamps(
            found[order], np.array(times, np.int64)[order], np.array(numbers, np.int64)[order],
            np.array(recorded, np.int64),
        )  # fmt: skip

    def _check_clocks(self) -> None:
        joints, max_skew = self.joints, self.options.limits.max_skew
        for camera, stream in self.cameras.items():
            check_one_clock(
                (joints.times, joints.stamps), (stream.times, stream.stamps), max_skew,
                f'{self.place}: {self.topics.cameras[camera]}',
            )  # fmt: skip

    def _read_texts(self, bag: BagFile) -> list[tuple[int, str]]:
        topic = self.topics.instruction
        if topic is None or self.options.instruction is not None:
            return []
        return [
            (
                round(self.joints.stamped(message.time) * NANOSECONDS),
                bag.decode(topic, message.data).data.strip(),
            )
            for message in bag.messages(topic)
        ]

    def _read_commands(self, bag: BagFile) -> Commands:
        topics = self.topics
        if self.options.actions == 'next_state' or topics.arm is None:
            return Commands()
        if self.contract.front_end.kind == 'joint_commands':
            return Commands(self._read_topic(bag, topics.arm, stamped=False))
        return Commands(*(
            self._read_topic(bag, topic, stamped=True) if topic else []
            for topic in (topics.arm, topics.gripper)
        ))  # fmt: skip

    def _read_topic(
        self, bag: BagFile, topic: str, *, stamped: bool
    ) -> list[tuple[float, Any]]:
        """Return when each command began [s]: by its stamp, or without one when it arrived."""
        found: list[tuple[float, Any]] = []
        ahead: list[float] = []
        for message in bag.messages(topic):
            arrival = self.joints.stamped(message.time)
            stamp = header_stamp(message.data) / NANOSECONDS if stamped else 0.0
            if stamp:
                ahead.append(stamp - arrival)
            found.append((stamp or arrival, bag.decode(topic, message.data)))
        usual = float(np.median(ahead)) if ahead else 0.0
        if abs(usual) > _USUAL_START:
            self.warnings.append(
                f'{topic}: stamped {abs(usual):.2f} s {"after" if usual > 0 else "before"} the '
                'arrival (median), by the clock of the joint states; the actions follow the '
                'stamps, as a controller would: are the clocks of these two computers in step?'
            )
        return found

    def tracks(self, known: tuple[int, int]) -> tuple[CommandTrack, CommandTrack]:
        """Return what arm and gripper were commanded, by what is known between two stamps [ns]."""
        if known not in self._tracks:
            commands = self._commands.between(*(stamp / NANOSECONDS for stamp in known))
            joints = self.joints.between(*known)
            arm, gripper = (f'{self.place}: {t}' for t in (self.topics.arm, self.topics.gripper))
            self._tracks[known] = command_tracks(
                commands, self.contract, joints, (arm, gripper)
            )
        return self._tracks[known]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {'_file': None, '_tracks': {}}


def _agreed_contract(bag: BagFile, wanted: RobotContract | None) -> RobotContract:
    recorded = bag.contract
    if wanted is None:
        if recorded is None:
            raise DatasetError(
                f'bag {bag.path.name}: was recorded without a contract; give one with --contract'
            )
        return recorded
    if recorded is not None and (found := wanted.differences(recorded)):
        raise DatasetError(
            f'bag {bag.path.name}: was recorded with another contract: {"; ".join(found)}'
        )
    return wanted
