# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Readers of what runs and benchmarks leave: training states, scenes, initial states."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from support.fuzz import Reader
from support.training_samples import config, squares
from vla_adapter_ros.evaluation.libero.initial_states import read_states
from vla_adapter_ros.training.checkpoints.run_folder import STATE_FILE
from vla_adapter_ros.training.experiments.grounding import pretrain
from vla_adapter_ros.training.experiments.grounding.scenes import load_scenes, save_shard
from vla_adapter_ros.training.trainer import Hooks, Trainer

STEP = 'step-00000003'
PICKLE = 'data.pkl'
FIXED = {'seed': 0, 'images': 4}


def take_pickle_out(file: Path) -> Path:
    """Put the pickled part of a file of torch beside it, to be damaged alone."""
    with zipfile.ZipFile(file) as archive:
        name = next(n for n in archive.namelist() if n.endswith(PICKLE))
        (file.parent / PICKLE).write_bytes(archive.read(name))
    file.rename(file.parent / 'good')
    return file.parent / PICKLE


def put_pickle_back(file: Path) -> None:
    """Make the file anew, with checksums that fit."""
    with (
        zipfile.ZipFile(file.parent / 'good') as good,
        zipfile.ZipFile(file, 'w') as changed,
    ):
        for item in good.infolist():
            pickled = item.filename.endswith(PICKLE)
            source = (file.parent / PICKLE).read_bytes() if pickled else good.read(item)
            changed.writestr(item, source)


@cache
def trainer() -> Trainer:
    """Return one with a moving average, and a network of a few numbers that made three steps."""
    recipe = config(Path('none'), Path('none'), 'ema=0.9')
    torch.manual_seed(0)
    alone = SimpleNamespace(
        process_index=0, num_processes=1, is_main_process=False, device=torch.device('cpu'),
        prepare=lambda *parts: parts,
    )  # fmt: skip
    made = Trainer(recipe, nn.Linear(3, 2), None, Hooks(lambda *_: None), alone)
    for made.step in range(1, 4):
        made.model(torch.ones(1, 3)).sum().backward()
        made.optimizer.step()
    return made


def write_run(folder: Path) -> Sequence[Path]:
    (folder / STEP).mkdir(parents=True)
    torch.save(trainer()._state(), folder / STEP / STATE_FILE)
    return [folder / STEP / STATE_FILE]


def write_run_pickle(folder: Path) -> Sequence[Path]:
    return [take_pickle_out(write_run(folder)[0])]


def read_run(folder: Path) -> None:
    """Resume, and make one more step with what was read."""
    file = folder / STEP / STATE_FILE
    if (file.parent / PICKLE).is_file():
        put_pickle_back(file)
    run = trainer()
    run.resume(folder / STEP)
    run.model(torch.ones(1, 3)).sum().backward()
    run.optimizer.step()
    run.average.update()


@cache
def grounder() -> SimpleNamespace:
    """Return the parts of one that are resumed."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return SimpleNamespace(model=model, optimizer=optimizer)


def write_grounding(folder: Path) -> Sequence[Path]:
    place = folder / 'checkpoints' / STEP
    place.mkdir(parents=True)
    parts = grounder()
    state = {
        'fixed': FIXED, 'step': 3, 'lines': [{'step': 3, 'loss': 0.5}],
        'model': parts.model.state_dict(), 'optimizer': parts.optimizer.state_dict(),
    }  # fmt: skip
    torch.save(state, place / pretrain.STATE)
    return [take_pickle_out(place / pretrain.STATE)]


def read_grounding(folder: Path) -> None:
    place = folder / 'checkpoints' / STEP
    put_pickle_back(place / pretrain.STATE)
    step, lines = pretrain._resume(grounder(), place, FIXED)
    json.dumps([step, lines])
    grounder().model(torch.ones(1, 3)).sum().backward()
    grounder().optimizer.step()


def write_scenes(folder: Path) -> Sequence[Path]:
    save_shard(folder, 0, squares(4))
    save_shard(folder, 1, squares(2))
    return sorted(file for file in folder.rglob('*') if file.is_file())


def read_scenes(folder: Path) -> None:
    scenes = load_scenes(folder)
    for row in (0, 5):
        assert len(scenes.instructions[row]) == scenes.points.shape[1]
        scenes.images[row], scenes.points[row]


def write_initial_states(folder: Path) -> Sequence[Path]:
    folder.mkdir()
    states = np.random.default_rng(0).normal(size=(5, 7))
    torch.save(states, folder / 'old', _use_new_zipfile_serialization=False)
    torch.save(states, folder / 'new')
    return [folder / 'old', folder / 'new']


def read_initial_states(folder: Path) -> None:
    for name in ('old', 'new'):
        assert read_states(folder / name).ndim == 2


STATE_READERS = (
    Reader('run state', write_run, read_run),
    Reader('pickle in run state', write_run_pickle, read_run),
    Reader('grounding state', write_grounding, read_grounding),
    Reader('scenes', write_scenes, read_scenes),
    Reader('LIBERO initial states', write_initial_states, read_initial_states),
)
