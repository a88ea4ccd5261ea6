# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What writes demonstrations and checkpoints, to be killed at any moment, and what must be left.

A producer has three functions, each called in a process of its own:

* `start(folder)` makes what is there before,
* `run(folder, tell)` does the work and tells what its caller may now rely on,
* `check(folder, told)` raises if any of that is gone or wrong; it also finishes the work, as a
  user would, by doing it again.

A new producer is one line in `PRODUCERS`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from support import training_samples
from support.bag_samples import TOPICS, BagSpec, feed, write_bag
from support.data_samples import contract, frame_of, observations, states, targets
from vla_adapter_ros.data.attach import attach
from vla_adapter_ros.data.bags import recorder as recorder_module
from vla_adapter_ros.data.bags.contents import BagOptions
from vla_adapter_ros.data.bags.conversion import convert_bags
from vla_adapter_ros.data.bags.file import BagFile
from vla_adapter_ros.data.bags.recorder import EpisodeRecorder
from vla_adapter_ros.data.bags.unfinished import DAMAGED, recover_abandoned
from vla_adapter_ros.data.bags.writer import BagWriter
from vla_adapter_ros.data.edit.__main__ import main as edit
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.columns import Columns
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.reencode import Encoding, reencode
from vla_adapter_ros.data.lerobot.writer import DatasetWriter, final_metadata
from vla_adapter_ros.data.prepare import CachedFrames, prepare
from vla_adapter_ros.processing.images import ImageConfig
from vla_adapter_ros.training import train

Tell = Callable[[str], None]
IMAGES = ImageConfig(size=96, jpeg_round_trip=False)
BAGS = 3
RECORDINGS, FRAMES = 3, 24
MESSAGES = 1 + 4 * FRAMES  # of a whole recording: the instruction, two images, two joint states


class Producer(NamedTuple):
    """See the module."""

    start: Callable[[Path], None]
    run: Callable[[Path, Tell], None]
    check: Callable[[Path, Sequence[str]], None]


# Recorder ----------------------------------------------------------------------------------------


def _record(folder: Path, tell: Tell) -> None:
    recorder_module.FLUSH_PERIOD_S = 0.02
    flush = BagWriter.flush
    for number in range(RECORDINGS):
        recorder = EpisodeRecorder(
            folder / 'bags', f'episode_{number}', TOPICS, contract(), f'task {number}'
        )

        def flushing(self, number=number, recorder=recorder) -> None:
            count = sum(recorder.counts().values())
            flush(self)
            tell(f'{number} {count}')

        BagWriter.flush = flushing
        for start in range(0, FRAMES, 6):
            feed(recorder, 6, start=start)
            time.sleep(0.02)
        recorder.finish()
        tell(f'{number} {MESSAGES}')


def _check_recordings(folder: Path, told: Sequence[str]) -> None:
    bags = folder / 'bags'
    bags.mkdir(exist_ok=True)
    for _ in range(2):
        list(recover_abandoned(bags))
    found = {path.name: path for path in bags.iterdir() if not path.name.startswith('.')}
    assert not (bags / DAMAGED).exists(), 'a recording was set aside as damaged'
    wanted: dict[str, int] = {}
    for line in told:
        number, count = line.split()
        wanted[f'episode_{number}'] = int(count)
    assert wanted.keys() <= found.keys(), f'told of {sorted(wanted)}, found {sorted(found)}'
    assert len(found) <= len(wanted) + 1
    for name, path in found.items():
        with BagFile(path) as bag:
            assert bag.contract == contract()
            assert bag.custom['instruction'] == f'task {name[8:]}'
            count = sum(1 for topic in bag.types for _ in bag.messages(topic))
        least = wanted.get(name, 0)
        assert least <= count <= MESSAGES, f'{name}: {count} messages, told of {least}'


def _discard(folder: Path, tell: Tell) -> None:
    recorder_module.FLUSH_PERIOD_S = 0.0
    for number in range(5):
        recorder = EpisodeRecorder(folder / 'bags', f'a{number}', TOPICS, contract(), 'a task')
        feed(recorder, 2)
        recorder.discard()
        tell(f'a{number}')


def _check_discarded(folder: Path, told: Sequence[str]) -> None:
    bags = folder / 'bags'
    bags.mkdir(exist_ok=True)
    list(recover_abandoned(bags))
    found = [path for path in bags.iterdir() if not path.name.startswith('.')]
    assert not (bags / DAMAGED).exists(), 'a recording was set aside as damaged'
    assert len(found) <= 1 and not {path.name for path in found} & set(told)
    for path in found:
        with BagFile(path) as bag:
            assert bag.contract == contract()
            assert bag.custom['instruction'] == 'a task'


# Datasets ----------------------------------------------------------------------------------------


def _bags(folder: Path) -> list[Path]:
    for number in range(BAGS):
        spec = BagSpec(duration=1.0, instruction=f'task {number}', offset=0.01 * number)
        write_bag(folder / 'bags' / f'bag_{number}', spec)
    return sorted((folder / 'bags').iterdir())


def _start_conversion(folder: Path) -> None:
    convert_bags(_bags(folder), folder / 'reference', storage='video')


def _start_append(folder: Path) -> None:
    bags = _bags(folder)
    convert_bags(bags[:1], folder / 'set', storage='video')
    shutil.copytree(folder / 'set', folder / 'reference')
    convert_bags(bags, folder / 'reference', storage='video', append=True)


def _convert(folder: Path, tell: Tell) -> None:
    result = convert_bags(
        sorted((folder / 'bags').iterdir()), folder / 'set', storage='video', append=True
    )
    assert not result.failed, result.failed
    tell('finished')


def _check_dataset(
    folder: Path, told: Sequence[str], before: int = 0, make: Callable[..., None] = _convert
) -> None:
    least = BAGS if told else before
    if least or layout.is_dataset(folder / 'set'):
        assert _compare(folder) >= least
    make(folder, lambda text: None)
    assert _compare(folder) == BAGS


def _check_append(folder: Path, told: Sequence[str]) -> None:
    _check_dataset(folder, told, before=1)


def _start_split(folder: Path) -> None:
    texts = {1.1 * number: f'task {number}' for number in range(1, BAGS)}
    spec = BagSpec(duration=1.1 * BAGS + 0.1, instruction='task 0', later_instructions=texts)
    write_bag(folder / 'bags/all', spec)
    _split(folder, lambda text: None, 'reference')


def _split(folder: Path, tell: Tell, output: str = 'set') -> None:
    options = BagOptions(split_on_instruction=True)
    result = convert_bags([folder / 'bags/all'], folder / output, options=options, append=True)
    assert not result.failed, result.failed
    tell('finished')


def _check_split(folder: Path, told: Sequence[str]) -> None:
    _check_dataset(folder, told, make=_split)


def _start_reencoding(folder: Path) -> None:
    training_samples.make_dataset(folder / 'source', episodes=BAGS, length=5)
    _reencode(folder, lambda text: None, 'reference')


def _reencode(folder: Path, tell: Tell, output: str = 'set') -> None:
    encoding = Encoding(storage='video', image_size=32)
    result = reencode([folder / 'source'], folder / output, encoding=encoding, append=True)
    assert not result.failed, result.failed
    tell('finished')


def _check_reencoded(folder: Path, told: Sequence[str]) -> None:
    _check_dataset(folder, told, make=_reencode)


def _compare(folder: Path) -> int:
    """Return how many episodes there are, after each was compared with the reference."""
    found, wanted = LeRobotSource(folder / 'set'), LeRobotSource(folder / 'reference')
    for number, (one, other) in enumerate(zip(found.episodes, wanted.episodes, strict=False)):
        assert (one.length, one.instruction) == (other.length, other.instruction)
        for a, b in zip(found.states_actions(number), wanted.states_actions(number), strict=True):
            np.testing.assert_array_equal(a, b)
        for camera in wanted.cameras:
            frames = range(one.length)
            pairs = zip(
                found.images(number, camera, frames), wanted.images(number, camera, frames),
                strict=True,
            )  # fmt: skip
            assert all(np.abs(a.astype(int) - b).max() <= 9 for a, b in pairs)
    return len(found.episodes)


def _start_attach(folder: Path) -> None:
    training_samples.make_dataset(folder / 'set', episodes=2, length=5)
    (folder / 'set' / layout.EXTRA).unlink()


def _attach(folder: Path, tell: Tell) -> None:
    attach(folder / 'set', contract())
    tell('finished')


def _check_attached(folder: Path, told: Sequence[str]) -> None:
    found = LeRobotSource(folder / 'set', Columns(actions='joint_target')).contract
    assert found == contract() or (found is None and not told)


# Edits -------------------------------------------------------------------------------------------

EDITS = (
    ['delete', '1'],
    ['relabel', 'new', '--episodes', '0'],
    ['crop', '1', '--from', '4f'],
    ['merge', 'other'],
    ['undo'],
)
_ZERO, _TWO, _THREE = (0, 0, 'task 0'), (2, 0, 'task 2'), (3, 0, 'task 3')
# After each of them: seed, first frame and instruction of the episodes.
VERSIONS = (
    [_ZERO, (1, 0, 'task 1'), _TWO],
    [_ZERO, _TWO],
    [(0, 0, 'new'), _TWO],
    [(0, 0, 'new'), (2, 4, 'task 2')],
    [(0, 0, 'new'), (2, 4, 'task 2'), _THREE],
    [(0, 0, 'new'), (2, 4, 'task 2')],
)


def _start_edits(folder: Path) -> None:
    for name, seeds in (('set', (0, 1, 2)), ('other', (3,))):
        with DatasetWriter(folder / name, contract()) as writer:
            for seed in seeds:
                text = f'task {seed}'
                writer.add_episode(observations(12, seed, text), targets(12, seed), key=text[5:])


def _edit(folder: Path, tell: Tell, done: int = 0) -> None:
    for number, (name, *words) in enumerate(EDITS[done:], start=done + 1):
        if name == 'merge':
            words = [str(folder / 'other')]
        assert edit([str(folder / 'set'), name, *words]) == 0
        tell(str(number))


def _check_edits(folder: Path, told: Sequence[str]) -> None:
    done = int(told[-1]) if told else 0
    found = _version(folder / 'set')
    possible = [n for n in range(done, min(done + 2, len(VERSIONS))) if VERSIONS[n] == found]
    assert possible, f'after {done} edits: {found}'
    _edit(folder, lambda text: None, possible[0])
    assert _version(folder / 'set') == VERSIONS[-1]
    left = {path.name for path in folder.iterdir()}
    assert left == {'set', 'other', '.set.undo'}, left


def _version(path: Path) -> list[tuple[int, int, str]]:
    """Return seed, first frame and instruction of the episodes, after every frame was compared."""
    if not path.exists():
        assert edit([str(path), 'list']) == 0
    source, found = LeRobotSource(path), []
    seeds = [int(key) for key in final_metadata(path)]
    for number, (seed, episode) in enumerate(zip(seeds, source.episodes, strict=True)):
        first = 12 - episode.length
        state = source.states_actions(number).state
        np.testing.assert_allclose(state, states(12, seed)[first:], atol=1e-6)
        for camera in source.cameras:
            views = source.images(number, camera, range(episode.length))
            assert [frame_of(view) for view in views] == list(range(first, 12))
        found.append((seed, first, episode.instruction))
    return found


# Caches and checkpoints --------------------------------------------------------------------------


def _start_cache(folder: Path) -> None:
    training_samples.make_dataset(folder / 'set', episodes=4, length=40)
    prepare(LeRobotSource(folder / 'set'), IMAGES, root=folder / 'reference')


def _prepare(folder: Path, tell: Tell) -> None:
    prepare(LeRobotSource(folder / 'set'), IMAGES, root=folder / 'caches')
    tell('finished')


def _check_cache(folder: Path, told: Sequence[str]) -> None:
    there = [path for path in folder.glob('caches/*') if not path.name.startswith('.')]
    assert len(there) == 1 or not told
    for path in there:
        CachedFrames(path)
    source = LeRobotSource(folder / 'set')
    found = prepare(source, IMAGES, root=folder / 'caches')
    wanted = prepare(source, IMAGES, root=folder / 'reference')
    rows = np.arange(len(wanted))
    assert np.array_equal(found.images(rows), wanted.images(rows))
    assert np.array_equal(found.state, wanted.state)
    assert np.array_equal(found.actions, wanted.actions)


def _train(folder: Path, name: str) -> Path:
    more = ('save.every=1', 'save.keep_last=2', 'save.validate_every=2')
    return train.run(training_samples.config(folder / 'set', folder / name, *more))


def _start_training(folder: Path) -> None:
    training_samples.make_dataset(folder / 'set')
    _train(folder, 'reference')


def _run_training(folder: Path, tell: Tell) -> None:
    _train(folder, 'run')
    tell('finished')


def _check_training(folder: Path, told: Sequence[str]) -> None:
    for checkpoint in folder.glob('run/checkpoints/step-*'):
        training_samples.weights(checkpoint)
    if told:
        assert (folder / 'run/checkpoints/step-00000006').is_dir()
    found = training_samples.weights(_train(folder, 'run'))
    wanted = training_samples.weights(folder / 'reference/checkpoints/step-00000006')
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


PRODUCERS = {
    'recorder': Producer(lambda folder: None, _record, _check_recordings),
    'discard': Producer(lambda folder: None, _discard, _check_discarded),
    'convert': Producer(_start_conversion, _convert, _check_dataset),
    'append': Producer(_start_append, _convert, _check_append),
    'split': Producer(_start_split, _split, _check_split),
    'reencode': Producer(_start_reencoding, _reencode, _check_reencoded),
    'attach': Producer(_start_attach, _attach, _check_attached),
    'edit': Producer(_start_edits, _edit, _check_edits),
    'prepare': Producer(_start_cache, _prepare, _check_cache),
    'training': Producer(_start_training, _run_training, _check_training),
}
