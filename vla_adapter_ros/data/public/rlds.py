# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reads RLDS datasets (TFRecord shards of episodes) of LIBERO and CALVIN without TensorFlow.

These are the datasets the released checkpoints were trained on: `modified_libero_rlds` (images
already upright) and `calvin_abc_rlds`.
"""

from __future__ import annotations

import hashlib
import mmap
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.data.codecs import check_size, decode_image
from vla_adapter_ros.data.episodes import ActionKind, Episode, StatesActions, files_fingerprint
from vla_adapter_ros.data.public.calvin import calvin_states_actions
from vla_adapter_ros.data.public.libero import libero_states_actions
from vla_adapter_ros.data.public.tfrecord import check_record, parse_example, record_bounds
from vla_adapter_ros.errors import DatasetError, readable
from vla_adapter_ros.processing.grippers import ACTION_NAMES

OBSERVATION = 'steps/observation/'
STATE, ACTION = OBSERVATION + 'state', 'steps/action'
INSTRUCTION = 'steps/language_instruction'


@dataclass(frozen=True)
class _Layout:
    """One kind of RLDS dataset: its views, frame rate, and the transform of states and actions."""

    views: dict[str, str]
    fps: float
    states_actions: Callable[[np.ndarray, np.ndarray], StatesActions]


LAYOUTS = (
    _Layout({'third_person': 'image', 'wrist': 'wrist_image'}, 20.0, libero_states_actions),
    _Layout({'third_person': 'rgb_static', 'wrist': 'rgb_gripper'}, 30.0, calvin_states_actions),
)


class RLDSSource:
    """A folder of `*.tfrecord-*` shards; see `EpisodeSource`.

    Damaged records are left out; `left_out` and a warning name them.

    Raises:
        DatasetError: no whole record, or none of the known layouts.
    """

    contract = None
    action_kind: ActionKind = 'command'
    names = ACTION_NAMES

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        # The shards' prefix may differ from the folder's name (libero_10_no_noops).
        self._files = sorted(self.path.glob('*.tfrecord-*'))
        self._buffers: dict[Path, memoryview] = {}
        self._places: list[tuple[Path, int, int]] = []
        self.left_out: list[str] = []
        for file in self._files:
            bounds, lost = record_bounds(self._buffer(file), file.name)
            self.left_out += [lost] * bool(lost)
            self._places += [(file, start, end) for start, end in bounds]
        self._places = [place for place in self._places if self._is_whole(*place)]
        for line in self.left_out:
            print(f'warning: {self.path}: {line}', file=sys.stderr)
        if not self._places:
            raise DatasetError(f'{self.path}: no whole records in {len(self._files)} shards')
        self._layout = self._recognise()
        self.cameras = tuple(self._layout.views)
        self.fps = self._layout.fps
        self.episodes = [self._episode(number) for number in range(len(self._places))]

    def _is_whole(self, file: Path, start: int, end: int) -> bool:
        try:
            check_record(self._buffer(file), start, end, file.name)
        except DatasetError as error:
            self.left_out.append(f'{error}: left out')
            return False
        return True

    def _buffer(self, file: Path) -> memoryview:
        if file not in self._buffers:
            if not file.stat().st_size:
                return memoryview(b'')
            with file.open('rb') as opened:
                mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
            self._buffers[file] = memoryview(mapped)
        return self._buffers[file]

    def _parse(self, number: int, wanted: Iterable[str]) -> dict[str, Any]:
        file, start, end = self._places[number]
        try:
            return parse_example(self._buffer(file)[start:end], set(wanted))
        except DatasetError as error:
            raise DatasetError(f'{self._place(number)}: {error}') from error

    def _place(self, number: int) -> str:
        file, start, _ = self._places[number]
        return f'{file.name}: record at byte {start}'

    def _recognise(self) -> _Layout:
        for layout in LAYOUTS:
            keys = [OBSERVATION + view for view in layout.views.values()]
            if len(self._parse(0, keys)) == len(keys):
                return layout
        known = [list(layout.views.values()) for layout in LAYOUTS]
        raise DatasetError(f'{self.path}: expected the images {" or ".join(map(str, known))}')

    def _episode(self, number: int) -> Episode:
        found = self._parse(number, (ACTION, INSTRUCTION))
        text = found.get(INSTRUCTION)
        if len(found.get(ACTION, ())) < 7 or not isinstance(text, list) or not text:
            raise DatasetError(f'{self._place(number)}: no action or instruction')
        with readable(f'{self._place(number)}: instruction', DatasetError):
            instruction = bytes(text[0]).decode().strip()
        return Episode(f'episode_{number:06d}', len(found[ACTION]) // 7, instruction)

    def states_actions(self, episode: int) -> StatesActions:
        """Return state and actions of all frames."""
        found = self._parse(episode, (STATE, ACTION))
        length = self.episodes[episode].length
        if STATE not in found or len(found[STATE]) % length:
            raise DatasetError(f'{self.path}: episode {episode}: no state for each of its steps')
        with readable(self._place(episode), DatasetError):
            state = found[STATE].reshape(length, -1)
            return self._layout.states_actions(state, found[ACTION].reshape(length, 7))

    def images(self, episode: int, camera: str, frames: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield (H, W, 3) uint8 RGB images of the given frames."""
        key = OBSERVATION + self._layout.views[camera]
        with readable(f'{self._place(episode)}: {key}', DatasetError):
            encoded = self._parse(episode, (key,))[key]
            for frame in frames:
                yield _decode(bytes(encoded[frame]))

    def fingerprint(self) -> str:
        """Return a hash of all shards' names and sizes, and of what is left out."""
        found = files_fingerprint(self.path, self._files)
        # A shard that was repaired has the same size.
        lost = hashlib.sha256('\n'.join([found, *self.left_out]).encode()).hexdigest()[:16]
        return lost if self.left_out else found

    def __getstate__(self) -> dict[str, Any]:
        # Other processes map the files themselves.
        return self.__dict__ | {'_buffers': {}}


def _decode(data: bytes) -> np.ndarray:
    if data[:2] != b'\xff\xd8':
        return decode_image(data)
    import simplejpeg

    check_size(data)
    # TensorFlow decodes with the fast inverse DCT: up to 7 levels from the accurate one.
    with readable(f'JPEG of {len(data)} bytes', DatasetError):
        return simplejpeg.decode_jpeg(data, fastdct=True, fastupsample=False)
