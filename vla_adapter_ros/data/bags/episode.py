# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A bag, or a part of it, as one episode: frames on one clock, with the commanded actions.

Policy per stream, the same as on the robot:
    images, joint states   newest at or before the frame's time, by their stamps
    action                 the commanded position one frame period after the observation's usual
                           stamp; without commands the measured position then (drag teaching)
    instruction            the text that was set when the first frame was seen
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.data.bags.alignment import NANOSECONDS, Alignment, align, drop_idle_frames
from vla_adapter_ros.data.bags.commands import gripper_fraction
from vla_adapter_ros.data.bags.contents import GRIPPERS, BagContents, BagOptions
from vla_adapter_ros.data.bags.file import BagFile, Message
from vla_adapter_ros.data.bags.labels import label_speeds, label_times
from vla_adapter_ros.data.bags.measured import check_not_frozen
from vla_adapter_ros.data.bags.parts import WHOLE, Part
from vla_adapter_ros.data.bags.topics import JOINTS
from vla_adapter_ros.errors import DamagedImageError, DatasetError, ObservationError
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.camera_view import policy_image
from vla_adapter_ros.robot.contract import RobotContract

# Changes of an action that count as idle [rad, open fraction]: of commands, and of measured
# positions, which flicker by a count of a servo (2π / 4096 rad).
NO_OP_COMMANDED = 1e-3
NO_OP_MEASURED = 3.1e-3
# An arm this far from its commands does not follow them [rad]: it is moved by hand.
IGNORED_COMMAND = 0.35  # [rad]
# Images looked at in place of a damaged one.
_SPARE_IMAGES = 4


class BagEpisode:
    """The frames and actions of a bag, or of a part of it; images are read on demand.

    Args:
        path: the bag.
        contract: in place of the bag's own, which it must agree with.
        options: how it is read.
        part: of the bag, see `split_recording`.
        contents: of the bag, if it was read before for other parts of it.

    Raises:
        DatasetError: anything that would make the data wrong; the message names bag, stream and
            time.
    """

    def __init__(
        self,
        path: str | Path,
        contract: RobotContract | None = None,
        options: BagOptions | None = None,
        *,
        part: Part = WHOLE,
        contents: BagContents | None = None,
    ) -> None:
        self._bag = bag = contents or BagContents(path, contract, options)
        self.path, self.contract, self._options = bag.path, bag.contract, bag.options
        self.part = part
        self.name = part.named(self.path.name)
        self.place = f'bag {self.name}'
        self._topics = bag.topics
        # The actions are read past the last frame, and before the first, but not behind a pause.
        self._joints = bag.joints.between(*part.known)
        seen = bag.joints.between(*part.stretch)
        self._cameras = {c: stream.between(*part.stretch) for c, stream in bag.cameras.items()}
        self._stamps = {c: stream.stamps for c, stream in self._cameras.items()}
        self._stamps[JOINTS] = seen.stamps
        self._alignment = self._align()
        states = seen.states[self._alignment.indices[JOINTS]]
        self.instruction = self._read_instruction()
        self.success = bag.success if part.ends else None
        self.action_source, actions = self._read_actions(states)
        tolerance = self._options.no_op_tolerance
        if tolerance is None:
            commanded = self.action_source == 'commands'
            tolerance = NO_OP_COMMANDED if commanded else NO_OP_MEASURED
        self._kept = drop_idle_frames(actions, self._options.no_op_filter, tolerance)
        self.actions = actions[self._kept]
        # (T, J + 1) proprioception in contract order.
        self.state = states[self._kept]

    def close(self) -> None:
        """Close the bag; reading images opens it again."""
        self._bag.close()

    def __len__(self) -> int:
        return len(self._kept)

    def _align(self) -> Alignment:
        limits = self._options.limits
        max_age = dict.fromkeys(self._cameras, limits.max_image_age)
        max_age[JOINTS] = limits.max_joint_state_age
        return align(self._stamps, self.frame_period, max_age, limits.max_skew, self.place)

    @property
    def frame_period(self) -> int:
        """Time between two frames [ns]."""
        return self._options.frame_period(self.contract)

    # Actions -----------------------------------------------------------------------------------

    def _read_actions(self, states: np.ndarray) -> tuple[str, np.ndarray]:
        """Return the source of the actions, and (T, J + 1) in contract order and units."""
        wanted = self._options.actions
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
        arm, gripper = self._bag.tracks(self.part.known)
        for row, time in zip(actions, due, strict=True):
            if (joints := arm.at(float(time))) is not None:
                row[:-1] = joints
            if (command := gripper.at(float(time))) is not None:
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
            self._alignment.times, states, actions, self.contract,
            f'{self.place}: {self._topics.joint_states}',
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

    # Instruction -------------------------------------------------------------------------------

    def _read_instruction(self) -> str:
        text = self._options.instruction
        if text is None:
            text = self._recorded_instruction()
        if text is None or not text.strip():
            raise DatasetError(
                f'{self.place}: the instruction is empty; give one with --instruction'
            )
        return text.strip()

    def _recorded_instruction(self) -> str | None:
        """Return the instruction of the first frame; it must not change in the episode."""
        start, end = (int(self._alignment.times[i]) for i in (0, -1))
        text = self._bag.first_text
        for time, found in self._bag.texts:
            if time > end:
                break
            if text is not None and time > start and found != text:
                raise DatasetError(
                    f'{self.place}: the instruction changes at '
                    f'{(time - start) / NANOSECONDS:.2f} s from {text!r} to {found!r}: '
                    'record one episode per instruction, or use --split-on-instruction'
                )
            text = found
        return text

    # Frames ------------------------------------------------------------------------------------

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
        topic, times = self._topics.cameras[camera], self._cameras[camera].recorded
        bag = self._bag.opened()
        for number, message in bag.numbered(topic, numbers, times):
            yield number, self._pixels(bag, camera, number, message)

    def _pixels(
        self, bag: BagFile, camera: str, number: int, message: Message
    ) -> np.ndarray:
        """Return an image; of a damaged one the newest before it, as the node would see."""
        try:
            return self._image(bag, camera, message)
        except DamagedImageError as error:
            stream, limit = self._cameras[camera], self._options.limits.max_image_age
            seen = self._alignment.indices[camera]
            age = float(self._alignment.ages[camera][stream.numbers[seen] == number].max())
            stamp = stream.stamp(number)
            before = range(max(0, number - _SPARE_IMAGES), number)
            topic = self._topics.cameras[camera]
            for earlier, spare in reversed([*bag.numbered(topic, before, stream.recorded)]):
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
        at = (message.time - int(self._cameras[camera].recorded[0])) / NANOSECONDS
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
                'damaged': self._bag.damaged[topic],
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
            **self.part.facts(),
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
        found = [*self._bag.warnings] if self.part.number == 1 else []
        as_measured = self._options.gripper == 'recorded' and self.gripper_source == 'measured'
        if self.action_source != 'commands' or not as_measured:
            return found
        return [
            *found,
            'the arm was commanded, but no command of the gripper was recorded: its actions are '
            'the measured openings, which do not press on what is held (--gripper threshold, or '
            'name its topic with --topic gripper=TOPIC)'
        ]
