# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Writes a dataset of episodes of other datasets, with all that those say about them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros.data.edit.opened import Piece, Row, unnamed_line
from vla_adapter_ros.data.edit.summaries import Summaries
from vla_adapter_ros.data.edit.videos import MEGABYTE, VideoFiles
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.staging import GROUP_BYTES
from vla_adapter_ros.data.lerobot.tables import replace_table, rows_table, write_tasks
from vla_adapter_ros.data.lerobot.video import QUALITY
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.weights.files import write_json, write_text

_WRITTEN = {'info.json', 'stats.json', 'tasks.parquet', 'episodes'}
_WRITTEN |= {Path(name).name for name in (layout.EXTRA, layout.EXTRA_EPISODES)}
_KEPT_HIDDEN = ('.gitattributes', '.gitignore')
Progress = Callable[[str], None]


def rebuild(
    pieces: Sequence[Piece], folder: Path, extra: Mapping[str, Any] | None, say: Progress
) -> set[tuple[int, str]]:
    """Write a dataset.

    Args:
        pieces: its episodes, of datasets with equal features.
        folder: empty; nothing is visible until its caller gives it its name.
        extra: content of our meta/vla_adapter.json, or None.
        say: told what is encoded again.

    Returns:
        Episode and feature of all videos that were encoded again.
    """
    work = _Rebuild(pieces, folder, extra, say)
    work.copy_others()
    work.write_data()
    for key in work.base.videos:
        work.write_videos(key)
    work.write_meta()
    return work.encoded


class _Rebuild:
    """One dataset being written."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        folder: Path,
        extra: Mapping[str, Any] | None,
        say: Progress,
    ) -> None:
        self.pieces, self.folder, self.extra, self.say = pieces, folder, extra, say
        self.base = pieces[0].source
        self.texts = [piece.texts() for piece in pieces]
        self.tasks = self._order_tasks()
        self.summaries = Summaries(self.base)
        self.rows = self._new_rows()
        self.encoded: set[tuple[int, str]] = set()

    def _order_tasks(self) -> list[str]:
        used = dict.fromkeys(text for texts in self.texts for text in dict.fromkeys(texts))
        first = [text for text in self.base.tasks.values() if text in used]
        return list(dict.fromkeys([*first, *used]))

    def _new_rows(self) -> list[Row]:
        rows, frames = [], 0
        for number, (piece, texts) in enumerate(zip(self.pieces, self.texts, strict=True)):
            old = piece.source.rows[piece.number]
            if not piece.whole:
                old = self.summaries.without_stale(old)
            tasks = list(dict.fromkeys(texts))
            rows.append(old | layout.episode_row(number, tasks, piece.length, frames))
            frames += piece.length
        return rows

    def copy_others(self) -> None:
        """Copy files that this module does not write: documents, and other tools' metadata."""
        for entry in self.base.path.iterdir():
            hidden = entry.name.startswith('.') and entry.name not in _KEPT_HIDDEN
            if not hidden and entry.name not in ('data', 'videos', 'meta'):
                _copy(entry, self.folder / entry.name)
        for entry in (self.base.path / 'meta').iterdir():
            if entry.name not in _WRITTEN and not entry.name.startswith('.'):
                _copy(entry, self.folder / 'meta' / entry.name)

    # Tables --------------------------------------------------------------------------------------

    def write_data(self) -> None:
        """Write the frames' tables, and collect what statistics are made of."""
        schema = self.base.table(self.pieces[0].number).schema
        metadata = {k: v for k, v in (schema.metadata or {}).items() if k != b'pandas'}
        schema = schema.with_metadata(metadata)
        sizes = 0
        number, writer = -1, None
        try:
            for i in range(len(self.pieces)):
                table = self._table(i, schema)
                sizes += table.nbytes
                if writer is None or sizes > layout.DATA_FILE_MB * MEGABYTE:
                    if writer is not None:
                        writer.close()
                    number, sizes = number + 1, table.nbytes
                    writer = self._open_data(number, schema)
                # As the writer groups rows: readers take a group at once.
                rows = max(1, len(table) * GROUP_BYTES // max(1, table.nbytes))
                writer.write_table(table, row_group_size=rows)
                place = layout.file_place(number)
                self.rows[i] |= {f'data/{name}': value for name, value in place.items()}
        finally:
            if writer is not None:
                writer.close()

    def _open_data(self, number: int, schema: pa.Schema) -> pq.ParquetWriter:
        file = self.folder / layout.DATA_PATH.format(**layout.file_place(number))
        file.parent.mkdir(parents=True, exist_ok=True)
        images = [n for n, f in self.base.features.items() if f.get('dtype') == 'image']
        plain = [name for name in schema.names if name not in images]
        # Images do not compress further.
        return pq.ParquetWriter(file, schema, compression='snappy', use_dictionary=plain)

    def _table(self, i: int, schema: pa.Schema) -> pa.Table:
        piece, row = self.pieces[i], self.rows[i]
        table = piece.table()
        frames = np.arange(piece.length)
        number = {text: index for index, text in enumerate(self.tasks)}
        new: dict[str, np.ndarray] = {
            'episode_index': np.full(piece.length, i),
            'index': frames + row['dataset_from_index'],
            'task_index': np.array([number[text] for text in self.texts[i]]),
        }
        if not piece.whole:
            new |= {'frame_index': frames, 'timestamp': frames / self.base.fps}
        missing = set(schema.names) - set(table.column_names)
        if missing:
            raise DatasetError(
                f'{piece.source.data_file(piece.number)}: no column {min(missing)!r}, which '
                f'{self.base.path} has'
            )
        columns = {
            name: pa.array(new[name]) if name in new else table.column(name)
            for name in schema.names
        }
        result = pa.table(columns).cast(schema)
        old = piece.source.rows[piece.number]
        self.summaries.take(row, old, result)
        return result

    # Videos --------------------------------------------------------------------------------------

    def write_videos(self, key: str) -> None:
        """Write the video files of a feature.

        Raises:
            DatasetError: it has sound, or a video is damaged.
        """
        if (self.base.features[key].get('info') or {}).get('has_audio'):
            raise DatasetError(f'{self.base.path}: {key} has sound, which an edit would lose')
        files = VideoFiles(self.folder, key, self.base.fps, self._quality(key))
        numbers = range(len(self.pieces))
        place = [(id(p.source), p.source.video_file(p.number, key)) for p in self.pieces]
        for _, group in groupby(numbers, key=lambda i: place[i]):
            members = list(group)
            if self._is_file(members, key):
                self._place_video(members, key, files.link(place[members[0]][1]))
                continue
            for i in members:
                self._copy_video(i, key, files)
        files.close()

    def _quality(self, key: str) -> int:
        value = (self.base.features[key].get('info') or {}).get('video.crf')
        return int(value) if isinstance(value, int) else QUALITY

    def _is_file(self, members: Sequence[int], key: str) -> bool:
        """Return whether these episodes are all of a file, whole and in order."""
        pieces = [self.pieces[i] for i in members]
        source, number = pieces[0].source, pieces[0].number
        there = source.episodes_in(source.video_file(number, key), key)
        return there == [piece.number for piece in pieces] and all(p.whole for p in pieces)

    def _place_video(self, members: Sequence[int], key: str, number: int) -> None:
        for i in members:
            place = layout.file_place(number)
            self.rows[i] |= {f'videos/{key}/{name}': value for name, value in place.items()}

    def _copy_video(self, i: int, key: str, files: VideoFiles) -> None:
        piece = self.pieces[i]
        source = piece.source.video_file(piece.number, key)
        first = piece.source.video_frame(piece.number, key) + piece.first
        found = files.copy(source, first, piece.length)
        if found is None:
            name = piece.source.key(piece.number)
            self.say(f'{name}: {key} is encoded again: it cannot be cut here without')
            self.encoded.add((i, key))
            found = files.encode(source, first, piece.length)
        number, frame = found
        self._place_video([i], key, number)
        self.rows[i] |= {
            f'videos/{key}/from_timestamp': frame / self.base.fps,
            f'videos/{key}/to_timestamp': (frame + piece.length) / self.base.fps,
        }

    # Metadata ------------------------------------------------------------------------------------

    def write_meta(self) -> None:
        """Write tables and files of meta/, info.json last."""
        statistics = self.summaries.finish(self.pieces, self.rows)
        file = self.folder / layout.EPISODES_PATH.format(chunk_index=0, file_index=0)
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_table(file, rows_table(self.rows))
        write_tasks(self.folder / layout.TASKS, self.tasks)
        if statistics:
            write_json(self.folder / layout.STATS, statistics)
        if self.extra is not None:
            write_json(self.folder / layout.EXTRA, self.extra)
        if any(piece.source.lines is not None for piece in self.pieces):
            text = ''.join(json.dumps(line) + '\n' for line in self._lines())
            write_text(self.folder / layout.EXTRA_EPISODES, text)
        write_json(self.folder / layout.INFO, self._info())

    def _lines(self) -> list[Row]:
        """Return our lines of the episodes; keys are made different where sets have equal ones."""
        lines, taken = [], set[str]()
        for piece in self.pieces:
            source, number = piece.source, piece.number
            line = source.lines[number] if source.lines else unnamed_line(number)
            key, again = str(line['key']), 2
            while key in taken:
                key, again = f'{line["key"]}+{again}', again + 1
            taken.add(key)
            lines.append(line | {'key': key})
        return lines

    def _info(self) -> dict[str, Any]:
        episodes, has_video = len(self.rows), bool(self.base.videos)
        return self.base.info | {
            'total_episodes': episodes,
            'total_frames': self.rows[-1]['dataset_to_index'],
            'total_tasks': len(self.tasks),
            'chunks_size': layout.FILES_PER_CHUNK,
            'splits': {'train': f'0:{episodes}'},
            'data_path': layout.DATA_PATH,
            'video_path': layout.VIDEO_PATH if has_video else None,
        }


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)
