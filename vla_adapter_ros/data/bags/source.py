# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Training directly from bags: without conversion, but each image is decoded on demand."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from vla_adapter_ros.data.bags.contents import BagContents, BagOptions
from vla_adapter_ros.data.bags.episode import BagEpisode
from vla_adapter_ros.data.bags.file import find_bags
from vla_adapter_ros.data.bags.parts import split_recording
from vla_adapter_ros.data.episodes import ActionKind, Episode, StatesActions, files_fingerprint
from vla_adapter_ros.robot.contract import RobotContract

OPEN_BAGS = 16


class BagSource:
    """A bag or a folder of bags, each one episode or several; see `EpisodeSource`.

    Args:
        path: bag or folder of bags.
        contract: in place of the bags' own, which must agree with it and with each other.
        options: how bags are read.

    Raises:
        DatasetError: as `BagEpisode`, or contracts differ between bags.
    """

    action_kind: ActionKind = 'joint_target'

    def __init__(
        self,
        path: str | Path,
        contract: RobotContract | None = None,
        options: BagOptions | None = None,
    ) -> None:
        self.path = Path(path)
        self._bags: list[BagEpisode] = []
        self._open: OrderedDict[Path, BagEpisode] = OrderedDict()
        for bag in find_bags(self.path):
            contents = BagContents(bag, contract, options)
            self._bags += [
                BagEpisode(bag, part=part, contents=contents)
                for part in split_recording(contents).parts
            ]
            contents.close()
            contract = self._bags[0].contract
        self._topics = str(sorted(options.topics.items())) if options else '[]'
        self.contract: RobotContract | None = self._bags[0].contract
        self._rotations = {c: spec.rotate for c, spec in self._bags[0].contract.cameras.items()}
        self.cameras = tuple(self._rotations)
        self.names = self._bags[0].contract.names
        self.fps = 1e9 / self._bags[0].frame_period
        self.episodes = [
            Episode(b.name, len(b), b.instruction, b.success) for b in self._bags
        ]

    def states_actions(self, episode: int) -> StatesActions:
        """Return state and actions of all frames."""
        bag = self._bags[episode]
        return StatesActions(bag.state.astype(np.float32), bag.actions.astype(np.float32))

    def images(self, episode: int, camera: str, frames: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield (H, W, 3) uint8 RGB upright images of the given frames."""
        bag = self._bags[episode]
        self._open[bag.path] = bag
        self._open.move_to_end(bag.path)
        if len(self._open) > OPEN_BAGS:
            self._open.popitem(last=False)[1].close()
        for image in bag.images(camera, frames):
            yield np.ascontiguousarray(np.rot90(image, -self._rotations[camera] // 90))

    def fingerprint(self) -> str:
        """Return a hash of all files' names and sizes, and of what was made of them."""
        files = [f for bag in self._bags for f in bag.path.iterdir() if f.is_file()]
        # The crop may come from the caller's contract.
        crops = [camera.crop for bag in self._bags for camera in bag.contract.cameras.values()]
        cropped = f' {crops}' if any(crops) else ''
        digest = hashlib.sha256(self._topics.encode())
        for bag in self._bags:
            digest.update(f'{bag.instruction}\n'.encode())
            # They change with any option that changes which frames there are.
            for rows in (bag.frame_times, bag.state, bag.actions):
                digest.update(np.ascontiguousarray(rows).tobytes())
        made = digest.hexdigest()[:16]
        return f'{files_fingerprint(self.path.parent, files)} {made}{cropped}'
