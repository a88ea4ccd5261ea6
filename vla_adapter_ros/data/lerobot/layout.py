# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Files and fields of a LeRobot v3.0 dataset, as lerobot 0.4 and 0.6 write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from vla_adapter_ros.errors import ContractError, DatasetError
from vla_adapter_ros.robot.contract import RobotContract

VERSION = 'v3.0'
FILES_PER_CHUNK = 1000
DATA_FILE_MB = 100
VIDEO_FILE_MB = 200
DATA_PATH = 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
VIDEO_PATH = 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4'
EPISODES_PATH = 'meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
INFO, STATS, TASKS = 'meta/info.json', 'meta/stats.json', 'meta/tasks.parquet'
# Ours: contract, meaning of the actions, versions; and one line per episode.
EXTRA, EXTRA_EPISODES = 'meta/vla_adapter.json', 'meta/vla_adapter_episodes.jsonl'
# What `data.edit` tells in EXTRA: its edits in words, and the recordings it took out, by the key
# that they had.
HISTORY = EDITS, TAKEN_OUT = 'edits', 'taken_out'
STATE, ACTION, IMAGES = 'observation.state', 'action', 'observation.images.'
INDEX_COLUMNS = {
    'timestamp': 'float32',
    'frame_index': 'int64',
    'episode_index': 'int64',
    'index': 'int64',
    'task_index': 'int64',
}
STORAGES = ('video', 'image')

Features = dict[str, dict[str, Any]]

# Settings that must be equal to add episodes to a dataset.
_COMPARED = ('fps', 'image_size', 'storage', 'quality')


@dataclass(frozen=True)
class DatasetSettings:
    """Settings that all episodes of a dataset have in common.

    Attributes:
        contract: of the robot; its cameras are stored.
        fps: frames per second.
        image_size: side of the stored square images [px]; None: as the camera gives them.
        storage: `video` or `image`.
        quality: constant rate factor of the videos.
        conversion: how recordings became episodes, JSON data; {} if they were not converted.
    """

    contract: RobotContract
    fps: int
    image_size: int | None
    storage: str
    quality: int
    conversion: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        data = {**vars(self), 'contract': self.contract.to_dict()}
        data['conversion'] = dict(self.conversion)
        return data

    def check_stored(self, stored: Mapping[str, Any], place: Path) -> None:
        """Raise DatasetError where the settings stored in the file `place` are different."""
        try:
            contract = RobotContract.from_dict(stored['contract'], source=place.name)
        except (KeyError, ContractError) as error:
            raise DatasetError(f'{place}: no readable contract: {error}') from error
        if found := self.contract.differences(contract):
            raise DatasetError(f'{place}: another contract: {"; ".join(found)}')
        pairs = [(name, stored.get(name), getattr(self, name)) for name in _COMPARED]
        if 'conversion' in stored:
            there, here = stored['conversion'], self.conversion
            pairs += [(name, there.get(name), here.get(name)) for name in {**there, **here}]
        for name, there, here in pairs:
            if there != here:
                raise DatasetError(f'{place}: {name} is {there!r} there, {here!r} here')


def file_place(number: int) -> dict[str, int]:
    """Return chunk and file index of the `number`-th file."""
    return {'chunk_index': number // FILES_PER_CHUNK, 'file_index': number % FILES_PER_CHUNK}


def episode_row(number: int, tasks: Sequence[str], length: int, first: int) -> dict[str, Any]:
    """Return what the table of episodes says of one, but for its files and statistics.

    Args:
        number: of the episode.
        tasks: its instructions, in order.
        length: frames.
        first: number of its first frame in the dataset.
    """
    return {
        'episode_index': number,
        'tasks': list(tasks),
        'length': length,
        'dataset_from_index': first,
        'dataset_to_index': first + length,
        'meta/episodes/chunk_index': 0,
        'meta/episodes/file_index': 0,
    }


def image_key(camera: str) -> str:
    """Return the feature name of a camera."""
    return IMAGES + camera


def make_features(
    names: Sequence[str],
    cameras: Mapping[str, tuple[int, int]],
    storage: str,
    fps: int,
    codec: Mapping[str, Any],
) -> Features:
    """Return info.json's `features`.

    Args:
        names: names of the state and action dimensions.
        cameras: camera name → (height, width) [px] as stored.
        storage: `video` or `image`.
        fps: frames per second.
        codec: codec, pix_fmt, g and crf of the videos.
    """
    vector = {'dtype': 'float32', 'shape': [len(names)], 'names': list(names)}
    features: Features = {STATE: dict(vector), ACTION: dict(vector)}
    for camera, (height, width) in cameras.items():
        feature: dict[str, Any] = {
            'dtype': storage,
            'shape': [height, width, 3],
            'names': ['height', 'width', 'channels'],
        }
        if storage == 'video':
            feature['info'] = _video_info(height, width, fps, codec)
        features[image_key(camera)] = feature
    for name, dtype in INDEX_COLUMNS.items():
        features[name] = {'dtype': dtype, 'shape': [1], 'names': None}
    return features


def _video_info(height: int, width: int, fps: int, codec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        'video.height': height,
        'video.width': width,
        'video.fps': fps,
        'video.channels': 3,
        'video.is_depth_map': False,
        'has_audio': False,
    } | {f'video.{name}': value for name, value in codec.items()}


def parquet_schema(features: Features) -> pa.Schema:
    """Return the schema of data files, with the metadata the `datasets` library looks for."""
    fields: list[pa.Field] = []
    described: dict[str, Any] = {}
    for name, feature in features.items():
        if feature['dtype'] == 'video':
            continue
        if feature['dtype'] == 'image':
            kind = pa.struct([('bytes', pa.binary()), ('path', pa.string())])
            described[name] = {'_type': 'Image'}
        elif name in INDEX_COLUMNS:
            kind = pa.type_for_alias(feature['dtype'])
            described[name] = {'dtype': feature['dtype'], '_type': 'Value'}
        else:
            length = feature['shape'][0]
            kind = pa.list_(pa.float32(), length)
            value = {'dtype': 'float32', '_type': 'Value'}
            described[name] = {'feature': value, 'length': length, '_type': 'Sequence'}
        fields.append(pa.field(name, kind))
    metadata = json.dumps({'info': {'features': described}})
    return pa.schema(fields, metadata={'huggingface': metadata})


def make_info(
    features: Features, fps: int, robot: str, episodes: int, frames: int, tasks: int
) -> dict[str, Any]:
    """Return the content of info.json."""
    has_video = any(feature['dtype'] == 'video' for feature in features.values())
    return {
        'codebase_version': VERSION,
        'robot_type': robot,
        'total_episodes': episodes,
        'total_frames': frames,
        'total_tasks': tasks,
        'chunks_size': FILES_PER_CHUNK,
        'data_files_size_in_mb': DATA_FILE_MB,
        'video_files_size_in_mb': VIDEO_FILE_MB,
        'fps': fps,
        'splits': {'train': f'0:{episodes}'},
        'data_path': DATA_PATH,
        'video_path': VIDEO_PATH if has_video else None,
        'features': features,
    }


def is_dataset(path: Path) -> bool:
    """Return whether a folder holds a LeRobot dataset of any version."""
    return (path / INFO).is_file()
