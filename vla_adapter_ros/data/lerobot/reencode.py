# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Datasets become a new one: other storage, quality, image size or rate, with our contract.

Each episode keeps its key, mark of success and other metadata. What is not named stays as it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm

from vla_adapter_ros.data.episodes import StatesActions, successes
from vla_adapter_ros.data.files import read_json
from vla_adapter_ros.data.jobs import KILLED, Conversion, run_jobs
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.columns import DEFAULT, Columns, check_foreign
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.tables import parquet_errors, parquet_files, read_table
from vla_adapter_ros.data.lerobot.video import QUALITY
from vla_adapter_ros.data.lerobot.writer import RATE_TOLERANCE, DatasetWriter
from vla_adapter_ros.errors import DatasetError, readable
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import RobotContract

# Metadata of an episode: a hash of what it was made of, and of the folder it was in.
SOURCE, SOURCE_PLACE = 'source_episode', 'source_dataset'
# Times this close are the same [frame periods].
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Encoding:
    """How the new dataset is written; None: as the first of those that are read.

    Attributes:
        fps: frames per second; fewer than before, or the same.
        storage: `video` or `image`.
        image_size: side of the stored square images [px].
        quality: constant rate factor of the videos.
    """

    fps: int | None = None
    storage: str | None = None
    image_size: int | None = None
    quality: int | None = None


def reencode(
    paths: Sequence[Path],
    output: Path,
    contract: RobotContract | None = None,
    encoding: Encoding | None = None,
    *,
    columns: Columns = DEFAULT,
    instruction: str | None = None,
    append: bool = False,
    only_successes: bool = False,
    workers: int = 1,
    progress: bool = False,
) -> Conversion:
    """Write the episodes of datasets into one dataset.

    Args:
        paths: folders of LeRobot datasets.
        output: folder of the new one.
        contract: of datasets of other tools; those of ours must agree with it.
        encoding: how it is written.
        columns: what the features of the datasets are.
        instruction: of all episodes, in place of their own.
        append: add to a finished dataset.
        only_successes: leave out episodes that are not marked as success.
        workers: processes, each with one episode at a time.
        progress: show a progress bar.

    Raises:
        DatasetError: a dataset cannot be read, does not fit the contract or the others, or the
            output cannot be added to.
    """
    begin = time.monotonic()
    sources = [LeRobotSource(path, columns, tolerant=True) for path in paths]
    if any(source.path.resolve() == output.resolve() for source in sources):
        raise DatasetError(f'{output}: is the dataset that is read; name a new folder')
    contract = _contract(sources, contract)
    settings = _settings(sources, encoding or Encoding())
    for source in sources:
        if settings['fps'] > source.fps * (1 + RATE_TOLERANCE):
            raise DatasetError(
                f'{source.path}: fps: got {settings["fps"]}, it has {source.fps:g}; '
                'frames that were not recorded cannot be made'
            )
    marks = [e.success for source in sources for e in source.episodes]
    none = f'{", ".join(map(str, paths))}: no episode'
    wanted = set(successes(marks, none)) if only_successes else set(range(len(marks)))
    writer = DatasetWriter(output, contract, append=append, **settings)
    result = Conversion()
    there, taken_out = writer.metadata(), writer.taken_out()
    jobs = _choose(sources, wanted, taken_out | there, result)
    result.taken_out = sorted(set(result.present) & set(taken_out) - set(there))
    work = partial(_convert_episode, sources, output, contract, settings, instruction)
    outcomes = run_jobs(work, jobs, workers, lambda job: KILLED)
    bar = tqdm(outcomes, 'episodes', len(jobs), unit='episode', disable=not progress)
    for job, outcome in zip(jobs, bar, strict=True):
        if isinstance(outcome, str):
            result.failed[job.key] = outcome
        else:
            result.reports.append(outcome)
    if writer.keys():
        writer.finalize()
    result.seconds = time.monotonic() - begin
    return result


def _contract(sources: Sequence[LeRobotSource], wanted: RobotContract | None) -> RobotContract:
    known = [wanted, *(source.contract for source in sources)]
    contract = next((found for found in known if found is not None), None)
    if contract is None:
        raise DatasetError(
            f'{sources[0].path}: carries no robot contract; give one with --contract, and say '
            'what its columns are with --actions, --state, --action and --camera'
        )
    for source in sources:
        if source.contract is None:
            check_foreign(source, contract)
            if source.action_kind != 'joint_target':
                raise DatasetError(
                    f'{source.path}: its actions are motions of the tool; a dataset of ours '
                    'stores joint targets. It trains as it is'
                )
        elif found := contract.differences(source.contract):
            raise DatasetError(f'{source.path}: another contract: {"; ".join(found)}')
    return contract


def _settings(sources: Sequence[LeRobotSource], encoding: Encoding) -> dict[str, Any]:
    """Return the writer's settings; what recordings were made into must agree."""
    conversions = []
    for source in sources:
        extra = _extra(source)
        own = {'columns': asdict(source.columns)} if source.contract is None else {}
        conversions.append(extra.get('conversion') or own)
        if conversions[-1] != conversions[0]:
            raise DatasetError(
                f'{source.path}: its episodes were made of recordings with other settings than '
                f'those of {sources[0].path}: {conversions[-1]}, not {conversions[0]}'
            )
    first, extra = sources[0], _extra(sources[0])
    features = first.info['features']
    dtypes = (f['dtype'] for f in features.values() if f['dtype'] in layout.STORAGES)
    fps = round(first.fps) if encoding.fps is None else encoding.fps
    if encoding.fps is None and abs(fps - first.fps) > RATE_TOLERANCE * fps:
        raise DatasetError(f'{first.path}: has {first.fps:g} frames per second; give --fps')
    return {
        'fps': fps,
        'storage': encoding.storage or next(dtypes, layout.STORAGES[0]),
        'image_size': encoding.image_size or extra.get('image_size'),
        'quality': extra.get('quality', QUALITY) if encoding.quality is None else encoding.quality,
        'conversion': conversions[0],
    }


def _extra(source: LeRobotSource) -> dict[str, Any]:
    file = source.path / layout.EXTRA
    with readable(file, DatasetError):
        return dict(read_json(file)) if file.is_file() else {}


@dataclass(frozen=True)
class _Job:
    """One episode to convert: its place among the sources, and what is kept of it."""

    source: int
    episode: int
    key: str
    vectors: StatesActions
    metadata: dict[str, Any]


def _choose(
    sources: Sequence[LeRobotSource],
    wanted: set[int],
    present: Mapping[str, Mapping[str, Any]],
    result: Conversion,
) -> list[_Job]:
    """Return a job for each episode that is new; the others are told in the result."""
    there = {m[SOURCE]: key for key, m in present.items() if SOURCE in m}
    places = {key: m.get(SOURCE_PLACE) for key, m in present.items()}
    jobs: list[_Job] = []
    number = -1
    for index, source in enumerate(sources):
        place = _hash(str(source.path.resolve()))
        images = _image_statistics(source)
        repeated: Counter[str] = Counter()
        result.failed.update(source.damaged)
        for episode in range(len(source.episodes)):
            number += 1
            key, metadata = source.described(episode)
            vectors = source.states_actions(episode)
            shown = images.get(source.number(episode), key)
            identity = _hash(shown, *(values.tobytes() for values in vectors))
            repeated[identity] += 1
            # An episode that a dataset has twice is kept twice; a copy of the dataset is not.
            identity = f'{identity}.{repeated[identity]}'
            if number not in wanted:
                result.left_out.append(key)
            elif identity in there:
                result.present.append(there[identity])
            elif places.get(key) == place:
                result.failed[key] = (
                    f'{source.path}: the new dataset has this episode as it was before it was '
                    'changed; remove it there, or convert to a new dataset'
                )
            else:
                key = _free(key, source.path.resolve().name, places)
                places[key], there[identity] = place, key
                facts = {SOURCE: identity, SOURCE_PLACE: place}
                jobs.append(_Job(index, episode, key, vectors, metadata | facts))
    return jobs


def _image_statistics(source: LeRobotSource) -> dict[int, str]:
    """Return what the metadata say of each episode's images: two may differ in nothing else."""
    features = source.info['features']
    cameras = [key for key, feature in features.items() if feature['dtype'] in layout.STORAGES]
    wanted = {f'stats/{key}/{name}' for key in cameras for name in ('mean', 'std')}
    found: dict[int, str] = {}
    for file in parquet_files(source.path / 'meta/episodes'):
        with parquet_errors(file):
            names = sorted(wanted & set(pq.read_schema(file).names))
        for row in read_table(file, ['episode_index', *names]).to_pylist() if names else ():
            found[row.pop('episode_index')] = json.dumps(row, sort_keys=True)
    return found


def _free(key: str, folder: str, taken: Mapping[str, Any]) -> str:
    number, candidate = 1, key
    while candidate in taken:
        candidate = f'{folder}.{key}' if number == 1 else f'{folder}.{key}.{number}'
        number += 1
    return candidate


def _hash(*facts: str | bytes) -> str:
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(fact.encode() if isinstance(fact, str) else fact)
    return digest.hexdigest()[:16]


def resampled(
    vectors: StatesActions, fps: float, rate: float
) -> tuple[np.ndarray, StatesActions]:
    """Return which frames are left at a lower rate, and their state and actions.

    As from a bag: a frame sees the newest of the old ones, and its action is the target one new
    frame period after what it usually sees.

    Args:
        vectors: state (T, P) and actions (T, A), each due one old frame period after its frame.
        fps: frames per second of `vectors`.
        rate: wanted frames per second.

    Returns:
        (T',) frame numbers, and state and actions of those frames.
    """
    length = len(vectors.state)
    if abs(rate - fps) <= RATE_TOLERANCE * fps:
        return np.arange(length), vectors
    # Times in old frame periods.
    step = fps / rate
    times = np.arange(int((length - 1) / step + _ROUNDING) + 1) * step
    frames = np.floor(times + _ROUNDING).astype(np.int64)
    age = float(np.median(times - frames))
    # Row i of the actions is due at i + 1; after the last one its target is held.
    rows = times - age + step - 1
    rows = np.where(abs(rows - np.round(rows)) < _ROUNDING, np.round(rows), rows)
    actions = [np.interp(rows, np.arange(length), column) for column in vectors.actions.T]
    return frames, StatesActions(vectors.state[frames], np.stack(actions, 1).astype(np.float32))


def _convert_episode(
    sources: Sequence[LeRobotSource],
    output: Path,
    contract: RobotContract,
    settings: Mapping[str, Any],
    instruction: str | None,
    job: _Job,
) -> dict[str, Any] | str:
    """Write one episode; return its report, or why it failed."""
    source = sources[job.source]
    found, rate = source.episodes[job.episode], settings['fps']
    frames, vectors = resampled(job.vectors, source.fps, rate)
    metadata = job.metadata | ({'frames': len(frames)} if 'frames' in job.metadata else {})
    try:
        # The output exists because it is being written.
        writer = DatasetWriter(output, contract, append=True, **settings)
        writer.add_episode(
            _observations(source, job.episode, frames, vectors.state, contract),
            vectors.actions, instruction or found.instruction, metadata, key=job.key,
        )  # fmt: skip
    except DatasetError as error:
        return str(error)
    except Exception as error:  # foreign data may be anything; the other episodes are converted
        return f'{source.path}: {found.key}: {type(error).__name__}: {error}'
    return {
        'episode': job.key,
        'success': found.success,
        'frames': len(frames),
        'duration': round(len(frames) / rate, 3),
    }


def _observations(
    source: LeRobotSource,
    episode: int,
    frames: np.ndarray,
    states: np.ndarray,
    contract: RobotContract,
) -> Iterator[Observation]:
    wanted = [int(frame) for frame in frames]
    views = {camera: source.images(episode, camera, wanted) for camera in source.cameras}
    instruction = source.episodes[episode].instruction
    for frame, state in zip(wanted, states, strict=True):
        # The writer turns images as cameras give them; these are upright already.
        images = {
            camera: np.rot90(next(view), contract.cameras[camera].rotate // 90)
            for camera, view in views.items()
        }
        yield Observation(images, state, instruction, frame / source.fps)
