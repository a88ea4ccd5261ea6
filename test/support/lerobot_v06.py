# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A LeRobot v3.0 dataset as lerobot 0.6 lays it out.

What 0.4 does not write: AV1 with two frames between key frames, settings of the encoder in
info.json, depth streams, language columns, tools, and tasks under the index `task`.
"""

from __future__ import annotations

import json
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from support.data_samples import image, states, targets
from vla_adapter_ros.data.lerobot.tables import vector_column

LENGTHS, FPS = (9, 12, 10), 10
FRONT, DEPTH = 'observation.images.front', 'observation.images.depth'
TASKS = ('pick up the cube', 'push the cube')
JOINTS = [f'Joint{n}.pos' for n in range(1, 7)] + ['gripper.pos']

# Of info.json.
V06_FIELDS = {
    'codebase_version', 'fps', 'features', 'total_episodes', 'total_frames', 'total_tasks',
    'chunks_size', 'data_files_size_in_mb', 'video_files_size_in_mb', 'data_path', 'video_path',
    'robot_type', 'splits', 'tools',
}  # fmt: skip


def write_v06(path):
    """Write the dataset; return its folder."""
    import pandas as pd

    (path / 'meta').mkdir(parents=True)
    (path / 'meta/info.json').write_text(json.dumps(_info(), indent=4))
    index = pd.Index(TASKS, name='task')
    pd.DataFrame({'task_index': range(len(TASKS))}, index=index).to_parquet(
        path / 'meta/tasks.parquet'
    )
    _write_data(path)
    _write_episodes(path)
    for key in (FRONT, DEPTH):
        _write_video(path / f'videos/{key}/chunk-000/file-000.mp4', key)
    return path


def _info():
    encoder = {
        'video.height': 48, 'video.width': 64, 'video.codec': 'av1', 'video.pix_fmt': 'yuv420p',
        'video.fps': FPS, 'video.channels': 3, 'has_audio': False, 'video.g': 2, 'video.crf': 8,
        'video.preset': 8, 'video.fast_decode': 0, 'video.video_backend': 'pyav',
        'video.extra_options': {}, 'is_depth_map': False,
    }  # fmt: skip
    depth = encoder | {
        'video.codec': 'hevc', 'video.pix_fmt': 'gray12le', 'video.channels': 1,
        'is_depth_map': True, 'depth_unit': 'mm', 'video.depth_min': 0.01,
    }  # fmt: skip
    vector = {'dtype': 'float32', 'shape': [7], 'names': JOINTS}
    scalar = {'shape': [1], 'names': None}
    names = ['height', 'width', 'channels']
    return {
        'codebase_version': 'v3.0', 'fps': FPS,
        'features': {
            'action': vector,
            'observation.state': vector,
            FRONT: {'dtype': 'video', 'shape': [48, 64, 3], 'names': names, 'info': encoder},
            DEPTH: {'dtype': 'video', 'shape': [48, 64, 1], 'names': names, 'info': depth},
            'language_persistent': {'dtype': 'language', **scalar},
            'language_events': {'dtype': 'language', **scalar},
            'timestamp': {'dtype': 'float32', **scalar},
            **{
                key: {'dtype': 'int64', **scalar}
                for key in ('frame_index', 'episode_index', 'index', 'task_index')
            },
        },
        'total_episodes': len(LENGTHS), 'total_frames': sum(LENGTHS), 'total_tasks': len(TASKS),
        'chunks_size': 1000, 'data_files_size_in_mb': 100, 'video_files_size_in_mb': 200,
        'data_path': 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet',
        'video_path': 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4',
        'robot_type': 'so101_follower', 'splits': {'train': f'0:{len(LENGTHS)}'},
        'tools': [{'type': 'function', 'function': {'name': 'say', 'parameters': {}}}],
    }  # fmt: skip


def _write_data(path):
    """One group of rows for each episode; language as lists of structures, mostly empty."""
    file = path / 'data/chunk-000/file-000.parquet'
    file.parent.mkdir(parents=True)
    writer, first = None, 0
    row = {'role': 'assistant', 'content': 'approach', 'style': 'subtask', 'camera': None}
    for number, length in enumerate(LENGTHS):
        frames = np.arange(length)
        table = pa.table(
            {
                'action': vector_column(targets(length, number)),
                'observation.state': vector_column(states(length, number)),
                'language_persistent': pa.array([[row | {'timestamp': 0.0}]] * length),
                'language_events': pa.array([[row], *[[]] * (length - 1)]),
                'timestamp': (frames / FPS).astype(np.float32),
                'frame_index': frames,
                'episode_index': np.full(length, number),
                'index': frames + first,
                'task_index': np.full(length, number % 2),
            }
        ).replace_schema_metadata({'huggingface': '{"info": {"features": {}}}'})
        writer = writer or pq.ParquetWriter(file, table.schema, compression='snappy')
        writer.write_table(table)
        first += length
    writer.close()


def _write_episodes(path):
    """Written in two flushes of the buffer, with statistics as nested lists."""
    file = path / 'meta/episodes/chunk-000/file-000.parquet'
    file.parent.mkdir(parents=True)
    writer, first = None, 0
    for number, length in enumerate(LENGTHS):
        last = first + length
        row = {
            'episode_index': number, 'tasks': [TASKS[number % 2]], 'length': length,
            'data/chunk_index': 0, 'data/file_index': 0,
            'dataset_from_index': first, 'dataset_to_index': last,
        }  # fmt: skip
        for key in (FRONT, DEPTH):
            row |= {
                f'videos/{key}/chunk_index': 0, f'videos/{key}/file_index': 0,
                f'videos/{key}/from_timestamp': first / FPS,
                f'videos/{key}/to_timestamp': last / FPS,
                f'stats/{key}/mean': [[[0.5]], [[0.5]], [[0.5]]],
            }  # fmt: skip
        row |= {'stats/action/mean': [0.0] * 7, 'meta/episodes/chunk_index': 0}
        row |= {'meta/episodes/file_index': 0}
        table = pa.table({key: [value] for key, value in row.items()})
        writer = writer or pq.ParquetWriter(file, table.schema, compression='snappy')
        writer.write_table(table)
        first = last
    writer.close()


def _write_video(file, key):
    """All episodes in one file: AV1 for colour, lossless HEVC for depth."""
    file.parent.mkdir(parents=True)
    # With less care SVT-AV1 4 repeats pictures that differ by so little.
    codec, form, options = 'libsvtav1', 'yuv420p', {'crf': '8', 'preset': '8'}
    if key == DEPTH:
        codec, form, options = 'libx265', 'gray12le', {'x265-params': 'lossless=1:log-level=none'}
    with av.open(str(file), 'w') as container:
        stream = container.add_stream(codec, rate=FPS, options=options | {'g': '2'})
        stream.width, stream.height, stream.pix_fmt = 64, 48, form
        stream.time_base = Fraction(1, FPS)
        count = 0
        for number, length in enumerate(LENGTHS):
            for index in range(length):
                frame = av.VideoFrame.from_ndarray(image(number, index), format='rgb24')
                frame = frame.reformat(format=form)
                frame.pts, frame.time_base = count, Fraction(1, FPS)
                container.mux(stream.encode(frame))
                count += 1
        container.mux(stream.encode(None))
