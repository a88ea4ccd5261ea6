# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Records episodes as bags, one bag each, which appear only when complete.

No ROS here: messages come as bytes with their topic and type. A thread of its own writes, so that
a slow disk does not delay the receiver; messages it cannot take are counted, never lost silently.

    <folder>/<name>/    a finished episode; unfinished ones: unfinished.py
"""

from __future__ import annotations

import json
import queue
import shutil
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.data.bags.file import message_types
from vla_adapter_ros.data.bags.metadata import CONTRACT, INSTRUCTION, TOPICS
from vla_adapter_ros.data.bags.recover import CHANNELS, SIDECAR
from vla_adapter_ros.data.bags.unfinished import RECORDING, Ownership
from vla_adapter_ros.data.bags.writer import BagWriter
from vla_adapter_ros.data.codecs import encode_jpeg
from vla_adapter_ros.data.files import (
    LIBRARIES,
    remove_folder,
    storage_errors,
    sync_entry,
    sync_folder,
)
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.image_decoding import decode_image
from vla_adapter_ros.weights.files import sync, write_json
from vla_adapter_ros.weights.metadata import software_versions

RAW_TYPE, COMPRESSED_TYPE = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
COMPRESSED = '/compressed'
FLUSH_PERIOD_S = 1.0
# Bytes waiting for the disk: 4.6 s of two 640×480 cameras at 30 Hz.
QUEUE_BYTES = 256_000_000
# A gap is this many times the usual interval, and at least this long [s].
GAP_FACTOR, GAP_SECONDS = 3.0, 0.05


@dataclass(frozen=True)
class RecordedTopic:
    """A topic to record.

    Attributes:
        role: camera name, `joint_states`, `arm`, `gripper`, `instruction` or free.
        name: of the topic.
        kind: message type.
        definition: text of the .msg file, for types that are not part of ROS itself.
        latched: offered to late subscribers.
        required: an episode without its messages is reported as incomplete.
    """

    role: str
    name: str
    kind: str
    definition: str | None = None
    latched: bool = False
    required: bool = False


@dataclass
class TopicReport:
    """The recording of one topic.

    Attributes:
        count: messages written.
        lost: messages that the disk could not take in time.
        rate: messages per second [Hz].
        gaps: (seconds from the first message, length [s]) of silences.
    """

    count: int = 0
    lost: int = 0
    rate: float = 0.0
    gaps: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class EpisodeReport:
    """The recording of one episode; `lines` is for people."""

    name: str
    path: Path
    duration: float
    size: int
    topics: dict[str, TopicReport]
    problems: list[str]

    def lines(self) -> list[str]:
        """Return one line a topic, then the problems."""
        head = f'{self.name}: {self.duration:.1f} s, {self.size / 1e6:.1f} MB'
        rows = [
            f'  {name}: {topic.count} messages, {topic.rate:.1f} Hz'
            + (f', {topic.lost} lost' if topic.lost else '')
            + (f', {len(topic.gaps)} gaps' if topic.gaps else '')
            for name, topic in self.topics.items()
        ]
        return [head, *rows, *(f'  problem: {problem}' for problem in self.problems)]


class EpisodeRecorder:
    """Records one episode.

    Args:
        folder: where finished episodes lie.
        name: of the episode.
        topics: what is recorded.
        contract: travels in the bag.
        instruction: what is done; may be empty if it comes on a topic.
        custom: further text for the bag's metadata.
        encode: names of raw image topics to be compressed to JPEG; they are recorded as
            `<topic>/compressed`.
        queue_bytes: maximum of bytes waiting for the disk.

    Raises:
        DatasetError: an episode of this name exists.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        topics: list[RecordedTopic],
        contract: RobotContract,
        instruction: str = '',
        custom: Mapping[str, str] | None = None,
        encode: Collection[str] = (),
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self.path = folder / name
        if self.path.exists() or any((folder / RECORDING).glob(f'*/{name}')):
            raise DatasetError(f'episode {self.path}: already exists')
        self._encode = set(encode)
        topics = [_compressed(t) if t.name in self._encode else t for t in topics]
        self._topics = {topic.name: topic for topic in topics}
        # Of the messages that were written; the thread adds to it.
        self._times: dict[str, list[int]] = {topic.name: [] for topic in topics}
        self._taken = dict.fromkeys(self._times, 0)
        self._lost = dict.fromkeys(self._times, 0)
        metadata = _metadata(contract, topics, instruction) | dict(custom or {})
        self._ownership = Ownership(folder)
        self._partial = self._ownership.path / name
        try:
            self._writer = self._open(topics, metadata)
        except Exception:
            shutil.rmtree(self._partial, ignore_errors=True)
            self._ownership.release()
            raise
        self._queue: queue.SimpleQueue[tuple[str, int, bytes] | None] = queue.SimpleQueue()
        self._limit, self._waiting = queue_bytes, 0
        self._lock = threading.Lock()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name='bag writer', daemon=True)
        self._thread.start()

    def _open(self, topics: list[RecordedTopic], metadata: dict[str, str]) -> BagWriter:
        writer = BagWriter(self._partial, metadata)
        declared: dict[str, dict[str, Any]] = {}
        for topic in topics:
            arguments = {
                'topic': topic.name, 'kind': topic.kind, 'definition': topic.definition,
                'latched': topic.latched,
            }  # fmt: skip
            writer.add_topic(**arguments)
            declared[str(writer.channels()[topic.name])] = arguments
        write_json(self._partial / SIDECAR, metadata | {CHANNELS: json.dumps(declared)})
        sync_entry(self._partial)
        return writer

    def write(self, topic: str, time_ns: int, data: bytes) -> None:
        """Take a message (CDR) received at `time_ns`; returns immediately."""
        name = topic + COMPRESSED if topic in self._encode else topic
        with self._lock:
            if self._waiting + len(data) > self._limit or self._error is not None:
                self._lost[name] += 1
                return
            self._waiting += len(data)
            self._taken[name] += 1
        self._queue.put((topic, time_ns, data))

    @property
    def failure(self) -> str:
        """Why nothing more is written, or ''."""
        if self._error is None:
            return ''
        return f'{type(self._error).__name__}: {self._error}'

    @property
    def waiting(self) -> int:
        """Bytes that wait for the disk."""
        return self._waiting

    def counts(self) -> dict[str, int]:
        """Return how many messages of each topic were written."""
        return {name: len(times) for name, times in self._times.items()}

    def losses(self) -> dict[str, int]:
        """Return how many messages of each topic the disk could not take; only those above 0."""
        return {name: lost for name, lost in self._lost.items() if lost}

    def _write(self, topic: str, stamp: int, data: bytes) -> None:
        if topic in self._encode:
            topic, data = topic + COMPRESSED, compress_image(data)
        self._writer.write(topic, stamp, data)
        self._times[topic].append(stamp)

    def _run(self) -> None:
        flushed = time.monotonic()
        while (item := self._queue.get()) is not None:
            topic, stamp, data = item
            if self._error is None:
                try:
                    self._write(topic, stamp, data)
                    if time.monotonic() - flushed > FLUSH_PERIOD_S:
                        self._writer.flush()
                        flushed = time.monotonic()
                except Exception as error:  # whatever it is, what follows is not recorded
                    self._error = error
                    self._save_rest()
            with self._lock:
                self._waiting -= len(data)

    def _save_rest(self) -> None:
        """Bring what was written before an error to the disk, if that is still possible."""
        with suppress(Exception):
            self._writer.flush()

    def finish(self, custom: Mapping[str, str] | None = None) -> EpisodeReport:
        """Close the bag and put it where finished episodes lie.

        Args:
            custom: further text for the metadata (success, operator, …).

        Raises:
            DatasetError: writing ended early, as on a full disk; what was written stays
                recoverable.
        """
        self._join()
        problems = self._problems()
        for key, value in (custom or {}).items():
            self._writer.set_custom(key, value)
        self._writer.set_custom('problems', json.dumps(problems))
        kept = f'what was recorded before stays in {self._partial}'
        try:
            with storage_errors(self._partial, kept):
                if isinstance(self._error, OSError):
                    raise self._error
                if self._error is not None:
                    raise DatasetError(f'{self._partial}: {self.failure}; {kept}') from self._error
                self._writer.close()
                sync_folder(self._partial)
                # Recovery needs it until the bag has all of it on the disk.
                (self._partial / SIDECAR).unlink()
                sync(self._partial)
                self._partial.replace(self.path)
                sync_entry(self.path)
        finally:
            self._ownership.release()
        return EpisodeReport(
            self.path.name, self.path, self._duration(),
            sum(file.stat().st_size for file in self.path.iterdir()),
            {name: self._topic_report(name) for name in self._topics}, problems,
        )  # fmt: skip

    def discard(self) -> None:
        """Stop and remove the episode."""
        self._join()
        self._writer.abort()
        remove_folder(self._partial)
        self._ownership.release()

    def _join(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _duration(self) -> float:
        ends = [(times[0], times[-1]) for times in self._times.values() if times]
        if not ends:
            return 0.0
        return (max(last for _, last in ends) - min(first for first, _ in ends)) * 1e-9

    def _topic_report(self, name: str) -> TopicReport:
        times = np.array(self._times[name], np.int64)
        report = TopicReport(len(times), self._lost[name])
        intervals = np.diff(times) * 1e-9
        if len(intervals) and (span := (times[-1] - times[0]) * 1e-9) > 0:
            report.rate = len(intervals) / span
            if self._topics[name].required:
                limit = max(GAP_FACTOR * float(np.median(intervals)), GAP_SECONDS)
                for place in np.flatnonzero(intervals > limit):
                    start = (times[place] - times[0]) * 1e-9
                    report.gaps.append((float(start), float(intervals[place])))
        return report

    def _problems(self) -> list[str]:
        problems = []
        for name, topic in self._topics.items():
            report = self._topic_report(name)
            if report.lost:
                problems.append(f'{name}: {report.lost} messages lost, the disk is too slow')
            if missing := self._taken[name] - report.count:
                problems.append(f'{name}: {missing} messages were taken and not written')
            if topic.required and not report.count:
                problems.append(f'{name}: no messages')
            problems += [
                f'{name}: {length:.2f} s without a message after {start:.2f} s'
                for start, length in report.gaps
            ]
        return problems


def compress_image(data: bytes) -> bytes:
    """Return a sensor_msgs/CompressedImage (CDR) of a sensor_msgs/Image (CDR).

    Raises:
        ObservationError: an encoding that is not 8-bit colour, or sizes that do not fit.
    """
    store = message_types()
    raw = store.deserialize_cdr(data, RAW_TYPE)
    pixels = decode_image(
        raw.encoding, raw.height, raw.width, raw.step, raw.data, bool(raw.is_bigendian)
    )
    encoded = encode_jpeg(pixels)
    # The text that image_transport's plugin writes: the contract may name the camera's encoding.
    message = store.types[COMPRESSED_TYPE](
        header=raw.header,
        format=f'{raw.encoding}; jpeg compressed bgr8',
        data=np.frombuffer(encoded, np.uint8),
    )
    return bytes(store.serialize_cdr(message, COMPRESSED_TYPE))


def _compressed(topic: RecordedTopic) -> RecordedTopic:
    return replace(topic, name=topic.name + COMPRESSED, kind=COMPRESSED_TYPE)


def _metadata(
    contract: RobotContract, topics: list[RecordedTopic], instruction: str
) -> dict[str, str]:
    return {
        CONTRACT: json.dumps(contract.to_dict()),
        TOPICS: json.dumps({topic.role: topic.name for topic in topics}),
        INSTRUCTION: instruction,
        'versions': json.dumps(software_versions(*LIBRARIES)),
    }


def next_episode_name(folder: Path) -> str:
    """Return the first free name of episode_000000, episode_000001 and so on."""
    taken = [*folder.glob('episode_*'), *(folder / RECORDING).glob('*/episode_*')]
    numbers = [int(path.name[8:]) for path in taken if path.name[8:].isdigit()]
    return f'episode_{max(numbers, default=-1) + 1:06d}'
