# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Readers of what our own commands wrote earlier, and go on with: results and datasets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from support.data_samples import contract, observations, targets
from support.fuzz import Reader
from vla_adapter_ros.data.edit.opened import OpenedSet
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.prepare import CachedFrames, prepare
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.evaluation import protocol
from vla_adapter_ros.evaluation.episode_log import EPISODES, EpisodeLog
from vla_adapter_ros.evaluation.libero.__main__ import NOTHING
from vla_adapter_ros.evaluation.libero.report import suite_data
from vla_adapter_ros.evaluation.report import report_data, success_table
from vla_adapter_ros.evaluation.rollout import EpisodeJob, EpisodeResult
from vla_adapter_ros.evaluation.suites.store import EXAMPLE, FILE, ResultStore
from vla_adapter_ros.training.experiments.ablation_run import read_result, training_figures
from vla_adapter_ros.weights.files import write_json

IDENTITY = {'checkpoint': 'x', 'open_loop': 8}
SETTINGS = {'training': {'seed': 0}, 'evaluation': {'episodes': 3}}
EPISODE = EpisodeResult('reach', 3, 'reach', ('red block',), None, 3, True, 1.5, 2, 0, '', 0.1)


def write_report(folder: Path) -> Sequence[Path]:
    made_with = {'zero': {'versions': {'numpy': '2'}, 'robot': 'alicia_d_sim'}}
    data = report_data({'episodes': 2}, made_with, {'zero': [EPISODE, EPISODE]}, {})
    folder.mkdir()
    write_json(folder / protocol.REPORT, data)
    return [folder / protocol.REPORT]


def read_report(folder: Path) -> None:
    _, _, episodes = protocol.read_cell(folder / protocol.REPORT)
    protocol.table({('nominal', 'trained'): episodes}, ['reach'])


def write_log(folder: Path) -> Sequence[Path]:
    log = EpisodeLog(folder, IDENTITY)
    for seed in range(3):
        log.add(EpisodeJob('reach', seed), EPISODE)
    return [folder / EPISODES]


def read_log(folder: Path) -> None:
    done = EpisodeLog(folder, IDENTITY).done
    if done:
        success_table({'zero': list(done.values())})


def write_results(folder: Path) -> Sequence[Path]:
    store = ResultStore(folder, IDENTITY, NOTHING)
    for episode in range(3):
        store.add({'task': 0, 'episode': episode, **NOTHING, **EXAMPLE})
    store.close()
    return [folder / FILE]


def read_results(folder: Path) -> None:
    store = ResultStore(folder, IDENTITY, NOTHING)
    store.close()
    suite_data('libero_object', IDENTITY, store.results)


def write_ablation(folder: Path) -> Sequence[Path]:
    folder.mkdir()
    write_json(folder / 'result.json', {'settings': SETTINGS, 'result': {'loss': 0.5}})
    lines = [{'step': n, 'train/step_s': 0.1, 'train/loss': 0.5} for n in range(3)]
    (folder / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, lines)) + '\n')
    return [folder / 'result.json', folder / 'metrics.jsonl']


def read_ablation(folder: Path) -> None:
    read_result(folder / 'result.json', SETTINGS)
    training_figures(folder)


def open_writer(folder: Path) -> DatasetWriter:
    return DatasetWriter(folder, contract(), storage='image', append=True)


def write_dataset(folder: Path) -> Sequence[Path]:
    """Two finished episodes and one that is not."""
    with open_writer(folder) as writer:
        for seed in range(2):
            writer.add_episode(observations(3, seed), targets(3, seed), metadata={'seed': seed})
    open_writer(folder).add_episode(observations(3), targets(3), metadata={'seed': 2})
    return sorted(f for f in folder.rglob('*') if f.suffix in ('.json', '.jsonl'))


def append(folder: Path) -> None:
    other = folder.with_name(f'{folder.name}_appended')
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(folder, other)
    writer = open_writer(other)
    writer.metadata(), writer.taken_out()
    writer.finalize()


def write_finished(folder: Path) -> Sequence[Path]:
    write_dataset(folder)
    open_writer(folder).finalize()
    return sorted(f for f in folder.rglob('*') if f.suffix in ('.json', '.jsonl'))


def edit(folder: Path) -> None:
    opened = OpenedSet(folder)
    for number in range(len(opened.rows)):
        opened.key(number)
        opened.table(number)


def write_prepared(folder: Path) -> Sequence[Path]:
    source = folder.with_name(f'{folder.name}_source')
    write_finished(source)
    prepared = prepare(open_source(source), root=folder.with_name(f'{folder.name}_root'))
    shutil.copytree(prepared.path, folder)
    return sorted(f for f in folder.rglob('*') if f.suffix in ('.json', '.npy'))


def read_prepared(folder: Path) -> None:
    cached = CachedFrames(folder)
    assert cached.contract is not None and cached.state.ndim == cached.actions.ndim == 2


RESULT_READERS = (
    Reader('report of a judgement', write_report, read_report),
    Reader('log of an evaluation', write_log, read_log),
    Reader('results of a benchmark', write_results, read_results),
    Reader('result of an ablation', write_ablation, read_ablation),
    Reader('dataset to append to', write_dataset, append, 0.1),
    Reader('dataset to edit', write_finished, edit, 0.3),
    Reader('prepared dataset', write_prepared, read_prepared, 0.3),
)
