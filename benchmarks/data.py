# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Speed of the data path, beside the public alternatives in the same run.

    python -m benchmarks.data --output data_benchmark.json

Random access: samples of two 224×224 views with their 8-step action chunk, in batches, through
the code that training uses; only the storage differs. Then what recording and conversion cost.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.recording import (
    benchmark_contract,
    conversion,
    moving_pictures,
    record,
)
from benchmarks.storage_alternatives import ALTERNATIVES, Reader
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.prepare import CachedFrames, prepare
from vla_adapter_ros.data.training.dataset import Dataset, FrameStore
from vla_adapter_ros.data.training.loader import load_batches
from vla_adapter_ros.data.training.mixture import BatchOrder, Mixture
from vla_adapter_ros.processing.images import OWN_IMAGES
from vla_adapter_ros.processing.observation import Observation

EPISODE = 120
SIZE = 224


@dataclass(frozen=True)
class AccessFigures:
    """Random access of one storage.

    Attributes:
        name: of the storage.
        ours: whether it is one of our caches.
        samples: per second, wall time, by number of loader threads.
        per_core: per second of processor time (other work on the machine does not count).
        bytes_per_frame: on disk, one view.
    """

    name: str
    ours: bool
    samples: dict[int, float]
    per_core: float
    bytes_per_frame: float


class _Store:
    """Another storage's frames with our vectors, so that only the storage differs."""

    def __init__(self, like: CachedFrames, read: Reader) -> None:
        self.episodes, self.cameras = like.episodes, like.cameras
        self.state, self.actions = like.state, like.actions
        self.images = read


def measure(
    store: FrameStore, batch: int, seconds: float, workers: Sequence[int]
) -> tuple[dict[int, float], float]:
    """Return samples per second by number of loader threads, and per second of processor time."""
    dataset = Dataset('benchmark', store, None, 'joint_position')
    mixture = Mixture([dataset])
    speeds, per_core = {}, 0.0
    for count in workers:
        batches = load_batches(mixture, BatchOrder(mixture, batch), workers=count)
        next(batches)
        begin, used, done = time.perf_counter(), time.process_time(), 0
        while (elapsed := time.perf_counter() - begin) < seconds:
            done += len(next(batches).rows)
        per_core = max(per_core, done / (time.process_time() - used))
        batches.close()
        speeds[count] = done / elapsed
    return speeds, per_core


def random_access(
    folder: Path, frames: int, batch: int, seconds: float, workers: Sequence[int]
) -> tuple[list[AccessFigures], dict[str, str]]:
    """Measure our caches and every alternative that is installed.

    Returns:
        figures, and why the others were left out.
    """
    source = _make_dataset(folder / 'set', frames)
    found = []
    for form in ('raw', 'jpeg'):
        store = prepare(source, OWN_IMAGES, format=form)
        size = sum(f.stat().st_size for f in store.path.glob('images.*'))
        speeds, per_core = measure(store, batch, seconds, workers)
        found.append(AccessFigures(f'ours, {form}', True, speeds, per_core, size / frames / 2))
    raw = prepare(source, OWN_IMAGES, format='raw')
    images = raw.images(np.arange(frames))
    missing = {}
    for name, make in ALTERNATIVES.items():
        place = folder / make.__name__
        place.mkdir()
        try:
            read = make(images, place)
        except ImportError as error:
            missing[name] = str(error)
            continue
        # Their libraries are not all safe in threads; users run one reader a process.
        speeds, per_core = measure(_Store(raw, read), batch, seconds, [0])
        size = sum(f.stat().st_size for f in place.rglob('*') if f.is_file())
        found.append(AccessFigures(name, False, speeds, per_core, size / frames / 2))
    return found, missing


def _make_dataset(path: Path, frames: int):  # noqa: ANN202
    from vla_adapter_ros.data.lerobot.reader import LeRobotSource

    robot = benchmark_contract()
    views = {c: moving_pictures(frames, SIZE, SIZE, seed) for seed, c in enumerate(robot.cameras)}
    generator = np.random.default_rng(0)
    with DatasetWriter(path, robot, image_size=SIZE, storage='image') as writer:
        for first in range(0, frames, EPISODE):
            rows = range(first, min(first + EPISODE, frames))
            items = [
                Observation({c: v[i] for c, v in views.items()}, np.zeros(7), 'benchmark', i / 10)
                for i in rows
            ]
            writer.add_episode(items, generator.normal(size=(len(items), 7)))
    return LeRobotSource(path)


def access_table(figures: Sequence[AccessFigures]) -> str:
    """Return random access as text, with the ratio to the best alternative."""
    best = max((f.per_core for f in figures if not f.ours), default=0.0)
    counts = sorted({n for f in figures for n in f.samples})
    head = f'{"samples/s (2 views, 8 actions)":32}{"per core":>10}'
    head += ''.join(f'{n} threads'.rjust(12) for n in counts)
    lines = [head + 'kB/frame'.rjust(10) + 'vs best other'.rjust(15)]
    for f in figures:
        cells = ''.join(f'{f.samples[n]:12.0f}' if n in f.samples else ' ' * 12 for n in counts)
        ratio = f'{f.per_core / best:14.1f}x' if f.ours and best else ''
        lines.append(f'{f.name:32}{f.per_core:10.0f}{cells}{f.bytes_per_frame / 1e3:10.1f}{ratio}')
    return '\n'.join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.data',
        description='Measure random access, recording and conversion of demonstrations, beside '
        'the public alternatives that are installed.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--frames', type=int, default=1200, help='frames in the data set')
    parser.add_argument('--batch', type=int, default=32, help='samples in a batch')
    parser.add_argument('--seconds', type=float, default=3.0, help='of each measurement')
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 2], help='loader threads')
    parser.add_argument('--episode', type=float, default=10.0, help='length of the recording [s]')
    parser.add_argument('--output', type=Path, help='write all figures as JSON')
    parser.add_argument('--folder', help='where to put temporary files')
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        results = _run(Path(place), options, print)
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=2) + '\n')
    return 0


def _run(folder: Path, options: argparse.Namespace, say: Callable[[str], None]) -> dict:
    figures, missing = random_access(
        folder, options.frames, options.batch, options.seconds, options.workers
    )
    say(access_table(figures))
    for name, reason in missing.items():
        say(f'{name}: left out: {reason}')
    recordings = []
    bags = {}
    for form in ('raw', 'jpeg'):
        bags[form], found = record(folder / 'bags', options.episode, form, paced=True)
        recordings.append(found)
        say(
            f'recorder core, 2 x 640x480 x 30 Hz, {form}: {100 * found.cpu:.0f} % of a core, '
            f'{found.lost} lost, {found.bytes_per_hour / 1e9:.1f} GB/hour'
        )
    conversions = conversion(bags['raw'], folder, options.episode)
    for item in conversions:
        say(
            f'conversion to {item.name}: {item.speed:.1f} x real time, '
            f'{item.bytes_per_hour / 1e9:.2f} GB/hour'
        )
    return {
        'random_access': [asdict(f) for f in figures],
        'left_out': missing,
        'recording': [asdict(f) for f in recordings],
        'conversion': [asdict(f) for f in conversions],
    }


if __name__ == '__main__':
    raise SystemExit(main())
