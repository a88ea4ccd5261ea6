# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Bags become a LeRobot v3.0 dataset: a bag is an episode, or several."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vla_adapter_ros.data.bags.contents import BagContents, BagOptions
from vla_adapter_ros.data.bags.episode import BagEpisode
from vla_adapter_ros.data.bags.metadata import BagMetadata
from vla_adapter_ros.data.bags.parts import Part, split_recording
from vla_adapter_ros.data.bags.recordings import Recording, choose_recordings, choose_successes
from vla_adapter_ros.data.jobs import KILLED, Conversion, run_jobs
from vla_adapter_ros.data.lerobot.video import QUALITY
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import RobotContract


def convert_bags(
    bags: Sequence[Path],
    output: Path,
    contract: RobotContract | None = None,
    options: BagOptions | None = None,
    *,
    storage: str = 'video',
    image_size: int | None = None,
    quality: int = QUALITY,
    append: bool = False,
    only_successes: bool = False,
    workers: int = 1,
    progress: bool = False,
) -> Conversion:
    """Convert bags into one dataset.

    Args:
        bags: folders of the bags. Two of one name (of two days) become two episodes.
        output: folder of the dataset.
        contract: of all bags; None: that of the first bag.
        options: how bags are read.
        storage: see `DatasetWriter`, as for the next three.
        image_size: side of the stored images [px].
        quality: of the videos.
        append: add to a finished dataset.
        only_successes: leave out bags that are not marked as success.
        workers: processes, each with one bag at a time.
        progress: show progress bars.

    Raises:
        DatasetError: no contract, or the output cannot be added to: it holds another contract,
            or episodes that were made with other settings.
    """
    options = options or BagOptions()
    begin = time.monotonic()
    result = Conversion()
    if only_successes:
        bags, result.left_out = choose_successes(bags)
    contract = contract or _first_contract(bags)
    settings = {
        'fps': options.fps,
        'image_size': image_size,
        'storage': storage,
        'quality': quality,
        'conversion': _meaning(options),
    }
    writer = DatasetWriter(output, contract, append=append, **settings)
    there, taken_out = writer.metadata(), writer.taken_out()
    chosen = choose_recordings(bags, taken_out | there)
    result.present, result.failed = chosen.present, chosen.refused
    result.taken_out = sorted(set(chosen.present) & set(taken_out) - set(there))
    jobs = [
        _Job(recording, output, contract, options, settings, progress and workers == 1)
        for recording in chosen.new
    ]
    outcomes = run_jobs(_convert_bag, jobs, workers, _killed)
    bar = tqdm(outcomes, 'bags', len(jobs), unit='bag', disable=not progress)
    splitting = options.split_on_instruction or options.split_on_gaps is not None
    for job, outcome in zip(jobs, bar, strict=True):
        key = job.recording.key
        result.reports += outcome.reports
        result.failed |= outcome.failed
        if splitting and outcome.parts:
            result.parts[key] = outcome.parts
        if outcome.left_out:
            result.dropped[key] = outcome.left_out
    if writer.keys():
        writer.finalize()
    result.seconds = time.monotonic() - begin
    return result


@dataclass(frozen=True)
class _Job:
    """One bag to convert; plain data, so that another process can do it."""

    recording: Recording
    output: Path
    contract: RobotContract
    options: BagOptions
    settings: dict[str, Any]
    progress: bool


@dataclass
class _Outcome:
    """What became of a bag: reports of its episodes, why others failed, and how it was split."""

    reports: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    parts: int = 0
    left_out: list[str] = field(default_factory=list)


def _killed(job: _Job) -> _Outcome:
    return _Outcome(failed={job.recording.key: KILLED})


def _meaning(options: BagOptions) -> dict[str, Any]:
    """Return the options that must be equal in a dataset; instructions differ by episode."""
    return {
        'topics': dict(sorted(options.topics.items())),
        'actions': options.actions,
        'no_op_filter': options.no_op_filter,
        'no_op_tolerance': options.no_op_tolerance,
        'gripper': [options.gripper, options.gripper_closed_below],
        'limits': asdict(options.limits),
        # None where nothing is split, as in datasets of before.
        'split_on_instruction': options.split_on_instruction or None,
        'split_on_gaps': options.split_on_gaps,
    }


def _first_contract(bags: Sequence[Path]) -> RobotContract:
    for bag in bags:
        try:
            found = BagMetadata(bag).contract
        except DatasetError:
            # Reported when its turn comes.
            continue
        if found is not None:
            return found
    raise DatasetError('bags: none was recorded with a contract; give one with --contract')


def _convert_bag(job: _Job) -> _Outcome:
    outcome = _Outcome()
    key = job.recording.key
    try:
        contents = BagContents(job.recording.bag, job.contract, job.options)
        split = split_recording(contents)
    except Exception as error:  # foreign data may be anything; the other bags are converted
        outcome.failed[key] = _reason(job, error)
        return outcome
    outcome.parts, outcome.left_out = len(split.parts), split.left_out
    for part in split.parts:
        if part.number in job.recording.done:
            continue
        try:
            outcome.reports.append(_convert_part(job, contents, part))
        except Exception as error:  # likewise
            outcome.failed[part.named(key)] = _reason(job, error)
    contents.close()
    return outcome


def _reason(job: _Job, error: Exception) -> str:
    if isinstance(error, DatasetError):
        return str(error)
    return f'bag {job.recording.bag}: {type(error).__name__}: {error}'


def _convert_part(job: _Job, contents: BagContents, part: Part) -> dict[str, Any]:
    episode = BagEpisode(job.recording.bag, part=part, contents=contents)
    frames: Iterator[Observation] = iter(
        tqdm(
            episode.observations(), total=len(episode), desc=part.named(job.recording.key),
            unit='frame', leave=False, disable=not job.progress,
        )
    )  # fmt: skip
    # The output exists because it is being written.
    writer = DatasetWriter(job.output, job.contract, append=True, **job.settings)
    writer.add_episode(
        frames, episode.actions, episode.instruction, episode.report | job.recording.facts,
        key=job.recording.key_of(part),
    )  # fmt: skip
    return episode.report
