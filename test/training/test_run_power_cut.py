# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""After a power cut at any moment of a run, its checkpoints load and it resumes exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from support.power_cut import Disk
from support.training_samples import config, make_dataset, weights
from vla_adapter_ros.training import train
from vla_adapter_ros.training.checkpoints.run_folder import STATE_FILE, RunFolder
from vla_adapter_ros.weights.own import open_checkpoint

RESUME_EVERY = 40  # of the states; a resumed run takes seconds


@pytest.mark.slow(reason='every state that a disk may hold is loaded, some are resumed')
@pytest.mark.timeout(600)
def test_checkpoints_load_after_a_power_cut_and_the_run_resumes_exactly(tmp_path):
    dataset = make_dataset(tmp_path / 'set')
    more = ('save.every=2', 'save.keep_last=1', 'save.validate_every=2')
    wanted = weights(train.run(config(dataset, tmp_path / 'whole', *more)))
    (tmp_path / 'home').mkdir()
    disk = Disk(tmp_path / 'home')
    seen: list[int] = []

    def operation() -> None:
        train.run(config(dataset, tmp_path / 'home/run', *more))
        disk.promise(6)

    def check(folder: Path, promised) -> None:
        run = RunFolder(folder / 'run', keep_last=1)
        run.best_score()
        for place in run.steps().values():
            open_checkpoint(place)
            weights(place)
            torch.load(place / STATE_FILE, weights_only=False)
        assert not promised or 6 in run.steps()
        seen.append(1)
        if len(seen) % RESUME_EVERY == 0:
            found = weights(train.run(config(dataset, folder / 'run', *more)))
            for name, value in wanted.items():
                np.testing.assert_array_equal(found[name], value, err_msg=name)

    assert disk.watch(operation, check, tmp_path / 'copy') > 60
