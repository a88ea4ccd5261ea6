# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Small LeRobot datasets as other tools write them."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from support.data_samples import image, states, targets
from vla_adapter_ros.data.codecs import encode_png
from vla_adapter_ros.data.lerobot.video import VideoWriter

LENGTHS = (7, 5)


def write_v21(path, storage='video', **changes):
    """A set of another tool, as lerobot 0.3 lays it out: lists of variable length."""
    key = 'observation.images.front'
    (path / 'meta').mkdir(parents=True)
    vector = {'dtype': 'float32', 'shape': [7], 'names': {'motors': [f'm{i}' for i in range(7)]}}
    info = {
        'codebase_version': 'v2.1', 'fps': 10, 'total_episodes': 2, 'chunks_size': 1,
        'data_path': 'data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet',
        'video_path':
            'videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4',
        'features': {
            'action': vector, 'observation.state': vector,
            key: {'dtype': storage, 'shape': [48, 64, 3], 'names': None},
        },
    }  # fmt: skip
    (path / 'meta/info.json').write_text(json.dumps(info | changes))
    tasks = [{'task_index': 1, 'task': 'push'}, {'task_index': 0, 'task': 'pick'}]
    (path / 'meta/tasks.jsonl').write_text('\n'.join(map(json.dumps, tasks)))
    rows = [
        {'episode_index': n, 'tasks': [('pick', 'push')[n]], 'length': length}
        for n, length in enumerate(LENGTHS)
    ]
    (path / 'meta/episodes.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    for number, length in enumerate(LENGTHS):
        data = path / f'data/chunk-{number:03d}/episode_{number:06d}.parquet'
        data.parent.mkdir(parents=True)
        table = {
            'observation.state': states(length, number).astype(np.float32).tolist(),
            'action': targets(length, number).astype(np.float32).tolist(),
            'episode_index': [number] * length,
        }
        if storage == 'image':
            table[key] = [
                {'bytes': encode_png(image(number, f)), 'path': None} for f in range(length)
            ]
        pq.write_table(pa.table(table), data)
        if storage == 'video':
            video = path / f'videos/chunk-{number:03d}/{key}/episode_{number:06d}.mp4'
            video.parent.mkdir(parents=True)
            with VideoWriter(video, 10) as writer:
                for frame in range(length):
                    writer.write(image(number, frame))
    return path
