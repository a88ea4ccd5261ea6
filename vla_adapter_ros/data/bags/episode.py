# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One bag as one episode: frames on one clock, with the actions that were commanded.

Policy per stream, the same as on the robot:
    images, joint states   newest at or before the frame's time, by their stamps
    action                 the commanded position one frame period after the observation's usual
                           stamp; without commands the measured position then (drag teaching)
    instruction            the text that was set when the first frame was seen
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.control.observation_inputs import InputSettings
from vla_adapter_ros.data.bags.alignment import (
    NANOSECONDS,
    Alignment,
    align,
    ascending,
    check_one_clock,
    drop_idle_frames,
)
from vla_adapter_ros.data.bags.commands import (
    CommandTrack,
    StreamTrack,
    TrajectoryTrack,
    gripper_fraction,
)
from vla_adapter_ros.data.bags.file import INSTRUCTION, BagFile, Message, header_stamp
from vla_adapter_ros.data.bags.labels import label_speeds, label_times
from vla_adapter_ros.data.bags.measured import check_not_frozen, trim_unmeasured
from vla_adapter_ros.data.bags.streams import ImageStamps, JointTrack
from vla_adapter_ros.data.bags.topics import JOINTS, choose_topics, topic_roles
from vla_adapter_ros.errors import DamagedImageError, DatasetError, ObservationError
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.camera_view import policy_image
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.joint_state import JointStateReader

ACTIONS = ('auto', 'commands', 'next_state')
NO_OP_FILTERS = ('off', 'ends', 'all')
GRIPPERS = ('recorded', 'threshold')
# Changes of an action that count as idle [rad, open fraction]: of commands, and of measured
# positions, which flicker by a count of a servo (2π / 4096 rad).
NO_OP_COMMANDED = 1e-3
NO_OP_MEASURED = 3.1e-3
# An arm this far from its commands does not follow them [rad]: it is moved by hand.
IGNORED_COMMAND = 0.35  # [rad]
# Images kept in case the next one is damaged.
_SPARE_IMAGES = 4


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


class BagEpisode:
    """A bag's frames and actions; images are read on demand.

    Args:
        path: the bag.
        contract: in place of the bag's own, which it must agree with.
        options: how it is read.

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
        self._options = options = options or BagOptions()
        self.place = f'bag {self.path.name}'
        with BagFile(self.path) as bag:
            self.contract = _agreed_contract(bag, contract)
            roles = topic_roles(self.contract)
            recorded = {r: t for r, t in bag.recorded_topics.items() if r in roles}
            named = recorded | dict(options.topics)
            topics = choose_topics(bag.types, self.contract, named, self.path.name)
            self._topics = topics
            # Messages that cannot be read, by topic.
            self._damaged: Counter[str] = Counter()
            self._joints = self._read_joints(bag)
            self._cameras = {c: self._read_stamps(bag, t) for c, t in topics.cameras.items()}
            self._stamps = {c: stream.stamps for c, stream in self._cameras.items()}
            self._stamps[JOINTS] = self._joints.stamps
            self._alignment = self._align()
            self.instruction = self._read_instruction(bag)
            self.success = bag.success
            self.action_source, actions = self._read_actions(bag)
        tolerance = options.no_op_tolerance
        if tolerance is None:
            commanded = self.action_source == 'commands'
            tolerance = NO_OP_COMMANDED if commanded else NO_OP_MEASURED
        self._kept = drop_idle_frames(actions, options.no_op_filter, tolerance)
        self.actions = actions[self._kept]

    def __len__(self) -> int:
        return len(self._kept)

    # Joints and clock --------------------------------------------------------------------------

    def _read_joints(self, bag: BagFile) -> JointTrack:
        topic = self._topics.joint_states
        limit = self._options.limits.max_joint_state_age * NANOSECONDS
        reader = JointStateReader(self.contract, limit)
        stamps, times, states, last = [], [], [], 0
        for message in bag.messages(topic):
            try:
                decoded = bag.decode(topic, message.data)
                stamp = header_stamp(message.data) or message.time
            except DatasetError:
                self._damaged[topic] += 1
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
        track, self._trimmed = trim_unmeasured(
            JointTrack(*rows), self.contract, f'{self.place}: {topic}'
        )
        return track

    def _read_stamps(self, bag: BagFile, topic: str) -> ImageStamps:
        """Read the stamps of a topic's messages; without stamps, when they were recorded."""
        stamps, times, numbers, first_time = [], [], [], 0
        for number, message in enumerate(bag.messages(topic)):
            first_time = first_time or message.time
            try:
                stamps.append(header_stamp(message.data) or message.time)
            except DatasetError:
                self._damaged[topic] += 1
                continue
            numbers.append(number)
            times.append(message.time)
        found = np.array(stamps, np.int64)
        order = ascending(found, f'{self.place}: {topic}')
        recorded = np.array(times, np.int64)[order]
        return ImageStamps(found[order], recorded, np.array(numbers, np.int64)[order], first_time)

    def _align(self) -> Alignment:
        limits = self._options.limits
        max_age = dict.fromkeys(self._cameras, limits.max_image_age)
        max_age[JOINTS] = limits.max_joint_state_age
        joints = self._joints
        for camera, stream in self._cameras.items():
            place = f'{self.place}: {self._topics.cameras[camera]}'
            check_one_clock(
                (joints.times, joints.stamps), (stream.times, stream.stamps),
                limits.max_skew, place,
            )  # fmt: skip
        return align(self._stamps, self.frame_period, max_age, limits.max_skew, self.place)

    @property
    def frame_period(self) -> int:
        """Time between two frames [ns]."""
        fps = self._options.fps
        seconds = self.contract.step_period if fps is None else 1.0 / fps
        return round(seconds * NANOSECONDS)

    # Actions -----------------------------------------------------------------------------------

    def _read_actions(self, bag: BagFile) -> tuple[str, np.ndarray]:
        """Return the source of the actions, and (T, J + 1) in contract order and units."""
        wanted = self._options.actions
        if wanted not in ACTIONS:
            raise DatasetError(f'actions: got {wanted!r}, expected one of {ACTIONS}')
        if wanted == 'commands' and self._topics.arm is None:
            raise DatasetError(
                f'{self.place}: no commands on {self.contract.front_end.arm_topic}; '
                'use the next state as the action (--actions next_state)'
            )
        due = label_times(self._alignment, self.frame_period)
        actions = self._joints.at(due)
        self._speeds = label_speeds(actions, actions, self.frame_period)
        self._close_gripper(actions[:, -1])
        self.gripper_source = 'measured'
        if wanted == 'next_state' or self._topics.arm is None:
            return 'next_state', actions
        measured = actions.copy()
        arm, gripper = self._tracks(bag)
        for row, time in zip(actions, due, strict=True):
            if (joints := arm.at(float(time))) is not None:
                row[:-1] = joints
            if gripper is not None and (command := gripper.at(float(time))) is not None:
                row[-1] = gripper_fraction(self.contract, float(command[0]))
                self.gripper_source = 'commands'
        apart = np.abs(actions - measured)[:, :-1].max(axis=1)
        ignored = float((apart > IGNORED_COMMAND).mean())
        if wanted == 'auto' and ignored > 0.5:
            raise DatasetError(
                f'{self.place}: the arm is more than {IGNORED_COMMAND} rad from its commands in '
                f'{ignored:.0%} of the frames: if it was moved by hand, use --actions next_state; '
                'if not, --actions commands'
            )
        check_not_frozen(
            self._alignment.times, self._joints.states[self._alignment.indices[JOINTS]], actions,
            self.contract, f'{self.place}: {self._topics.joint_states}',
        )  # fmt: skip
        self._speeds = label_speeds(actions, measured, self.frame_period)
        return 'commands', actions

    def _close_gripper(self, openings: np.ndarray) -> None:
        """Change measured open fractions (T,) to targets, as the options say."""
        options = self._options
        if options.gripper not in GRIPPERS:
            raise DatasetError(f'gripper: got {options.gripper!r}, expected one of {GRIPPERS}')
        if options.gripper == 'threshold':
            openings[openings < options.gripper_closed_below] = 0.0

    def _tracks(self, bag: BagFile) -> tuple[CommandTrack, CommandTrack | None]:
        assert self._topics.arm is not None
        if self.contract.front_end.kind == 'joint_commands':
            return self._streams(bag, self._topics.arm)
        gripper = None
        if self._topics.gripper is not None:
            # A controller's trajectory starts from where the gripper is, in the driver's unit.
            gripper = self._trajectories(
                bag, self._topics.gripper, self.contract.driver_names[-1:],
                lambda t: self.contract.front_end.gripper_command(self._joints.at(t)[-1:]),
            )  # fmt: skip
        arm = self._trajectories(
            bag, self._topics.arm, self.contract.driver_joint_names,
            lambda t: self._joints.at(t)[:-1],
        )  # fmt: skip
        return arm, gripper

    def _trajectories(
        self, bag: BagFile, topic: str, names: Sequence[str], measured: Any
    ) -> TrajectoryTrack:
        track = TrajectoryTrack(names, measured, f'{self.place}: {topic}')
        for message in bag.messages(topic):
            # A trajectory without a stamp begins when it arrives.
            stamp = header_stamp(message.data) / NANOSECONDS or self._joints.stamped(message.time)
            track.add(bag.decode(topic, message.data), stamp)
        return track

    def _streams(self, bag: BagFile, topic: str) -> tuple[StreamTrack, StreamTrack]:
        place = f'{self.place}: {topic}'
        gripper_name = self.contract.driver_names[-1]
        arm, gripper = (
            StreamTrack(self.contract.driver_joint_names, place),
            StreamTrack([gripper_name], place),
        )
        for message in bag.messages(topic):
            decoded = bag.decode(topic, message.data)
            time = self._joints.stamped(message.time)
            arm.add(decoded.name, decoded.position, time)
            # Without it the driver keeps the gripper where it is.
            if gripper_name in decoded.name:
                gripper.add(decoded.name, decoded.position, time)
        return arm, gripper

    # Instruction -------------------------------------------------------------------------------

    def _read_instruction(self, bag: BagFile) -> str:
        text = self._options.instruction
        if text is None and self._topics.instruction is not None:
            text = self._recorded_instruction(bag, self._topics.instruction)
        if text is None:
            text = bag.custom.get(INSTRUCTION, '')
        if not text.strip():
            raise DatasetError(
                f'{self.place}: the instruction is empty; give one with --instruction'
            )
        return text.strip()

    def _recorded_instruction(self, bag: BagFile, topic: str) -> str | None:
        """Return the instruction of the first frame; it must not change in the episode."""
        start, end = (int(self._alignment.times[i]) for i in (0, -1))
        # An instruction set before the recording is only in the metadata.
        text: str | None = bag.custom.get(INSTRUCTION, '').strip() or None
        for message in bag.messages(topic):
            time = round(self._joints.stamped(message.time) * NANOSECONDS)
            found = bag.decode(topic, message.data).data.strip()
            if time > end:
                break
            if text is not None and time > start and found != text:
                raise DatasetError(
                    f'{self.place}: the instruction changes at '
                    f'{(time - start) / NANOSECONDS:.2f} s from {text!r} to {found!r}: '
                    'record one episode per instruction'
                )
            text = found
        return text

    # Frames ------------------------------------------------------------------------------------

    @property
    def state(self) -> np.ndarray:
        """(T, J + 1) proprioception in contract order."""
        return self._joints.states[self._alignment.indices[JOINTS][self._kept]]

    @property
    def frame_times(self) -> np.ndarray:
        """(T,) times of the frames [ns]."""
        return self._alignment.times[self._kept]

    def images(self, camera: str, frames: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield (H, W, 3) uint8 RGB images of the frames, cropped, not yet turned."""
        seen = self._alignment.indices[camera][self._kept]
        wanted = [int(self._cameras[camera].numbers[seen[frame]]) for frame in frames]
        uses = Counter(wanted)
        held: dict[int, np.ndarray] = {}
        source = self._decoded(camera, sorted(uses))
        # Read once in the bag's order; what comes before its frame is held until its last use.
        for number in wanted:
            while number not in held:
                place, image = next(source)
                held[place] = image
            yield held[number]
            uses[number] -= 1
            if not uses[number]:
                del held[number]

    def _decoded(self, camera: str, numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        topic = self._topics.cameras[camera]
        wanted = iter(numbers)
        number = next(wanted, None)
        before: deque[tuple[int, Message]] = deque(maxlen=_SPARE_IMAGES)
        with BagFile(self.path) as bag:
            for place, message in enumerate(bag.messages(topic)):
                if number is None:
                    return
                if place == number:
                    yield place, self._pixels(bag, camera, place, message, before)
                    number = next(wanted, None)
                before.append((place, message))

    def _pixels(
        self, bag: BagFile, camera: str, number: int, message: Message,
        before: Iterable[tuple[int, Message]],
    ) -> np.ndarray:  # fmt: skip
        """Return an image; of a damaged one the newest before it, as the node would see."""
        try:
            return self._image(bag, camera, message)
        except DamagedImageError as error:
            stream, limit = self._cameras[camera], self._options.limits.max_image_age
            seen = self._alignment.indices[camera]
            age = float(self._alignment.ages[camera][stream.numbers[seen] == number].max())
            stamp = stream.stamp(number)
            for earlier, spare in reversed([*before]):
                if age + (stamp - stream.stamp(earlier)) / NANOSECONDS > limit:
                    break
                with suppress(DamagedImageError):
                    image = self._image(bag, camera, spare)
                    self.report['streams'][camera]['replaced'] += 1
                    return image
            place = self._place(camera, message)
            raise DatasetError(
                f'{place}: {error}, and no good image within {limit:g} s before it'
            ) from error
        except ObservationError as error:
            raise DatasetError(f'{self._place(camera, message)}: {error}') from error

    def _image(self, bag: BagFile, camera: str, message: Message) -> np.ndarray:
        try:
            decoded = bag.decode(self._topics.cameras[camera], message.data)
        except DatasetError as error:
            raise DamagedImageError(str(error)) from error
        return policy_image(decoded, self.contract.cameras[camera])

    def _place(self, camera: str, message: Message) -> str:
        at = (message.time - self._cameras[camera].first_time) / NANOSECONDS
        return f'{self.place}: {self._topics.cameras[camera]}: at {at:.2f} s'

    def observations(self) -> Iterator[Observation]:
        """Yield the frames' observations, images cropped, not yet turned."""
        frames = range(len(self))
        views = {camera: self.images(camera, frames) for camera in self._cameras}
        for frame, state in zip(frames, self.state, strict=True):
            stamp = float(self._alignment.stamps[self._kept[frame]]) / NANOSECONDS
            images = {camera: next(stream) for camera, stream in views.items()}
            yield Observation(images, state, self.instruction, stamp)

    # Report ------------------------------------------------------------------------------------

    @cached_property
    def report(self) -> dict[str, Any]:
        """Statistics of the conversion for people, as JSON data."""
        alignment = self._alignment
        streams = {}
        for name, stamps in self._stamps.items():
            # Equal stamps (slow simulated time, two publishers) say nothing of the rate.
            intervals = np.diff(np.unique(stamps)) / NANOSECONDS
            usual = float(np.median(intervals)) if len(intervals) else np.inf
            topic = self._topics.joint_states if name == JOINTS else self._topics.cameras[name]
            streams[name] = {
                'messages': len(stamps),
                'damaged': self._damaged[topic],
                'replaced': 0,
                'rate': round(1.0 / usual, 2),
                'longest_gap': round(float(intervals.max(initial=0.0)), 4),
                'missing': int(np.maximum(np.round(intervals / usual) - 1, 0).sum()),
                'used': len(np.unique(alignment.indices[name][self._kept])),
                'mean_age': round(float(alignment.ages[name].mean()), 4),
                'max_age': round(float(alignment.ages[name].max()), 4),
            }
        return {
            'bag': self.path.name,
            'success': self.success,
            'frames': len(self),
            'dropped_no_ops': len(alignment.times) - len(self),
            'duration': round(len(alignment.times) * self.frame_period / NANOSECONDS, 3),
            'actions': self.action_source,
            'action_sources': {
                'arm': 'commands' if self.action_source == 'commands' else 'measured',
                'gripper': self.gripper_source,
            },
            'warnings': self._warnings(),
            **self._speeds,
            'mean_skew': round(float(alignment.skew.mean()), 4),
            'max_skew': round(float(alignment.skew.max()), 4),
            'streams': streams,
        }

    def _warnings(self) -> list[str]:
        trimmed = [self._trimmed] if self._trimmed else []
        as_measured = self._options.gripper == 'recorded' and self.gripper_source == 'measured'
        if self.action_source != 'commands' or not as_measured:
            return trimmed
        return [
            *trimmed,
            'the arm was commanded, but no command of the gripper was recorded: its actions are '
            'the measured openings, which do not press on what is held (--gripper threshold, or '
            'name its topic with --topic gripper=TOPIC)'
        ]


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
