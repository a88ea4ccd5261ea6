# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Looking at data: figures, warnings, images; and the command line."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from support.data_samples import contract, frame_of, image, observations, states, targets
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.show.__main__ import main
from vla_adapter_ros.data.show.images import contact_sheet
from vla_adapter_ros.data.show.overview import overview_of
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.processing.images import as_camera
from vla_adapter_ros.processing.observation import Observation


@pytest.fixture
def dataset(tmp_path):
    with DatasetWriter(tmp_path / 'set', contract(), storage='image') as writer:
        for seed, text in enumerate(('pick', 'pick', 'push')):
            writer.add_episode(observations(20, seed), targets(20, seed), text)
    return tmp_path / 'set'


def test_figures(dataset):
    summary = overview_of(open_source(dataset))
    assert summary.lengths.tolist() == [20, 20, 20]
    assert summary.seconds == pytest.approx(6.0)
    assert summary.tasks == {'pick': 2, 'push': 1}
    everything = np.concatenate([targets(20, seed) for seed in range(3)])
    np.testing.assert_allclose(summary.actions['max'], everything.max(axis=0), atol=1e-6)
    assert summary.idle == 0.0
    assert summary.warnings == []


def bad_set(path, change, length=30):
    with DatasetWriter(path, contract(), storage='image') as writer:
        actions = change(targets(length))
        writer.add_episode(observations(length), actions, 'pick')
    return overview_of(open_source(path)).warnings


def test_warnings_name_what_will_hurt(tmp_path):
    def still(actions):
        actions[5:] = actions[5]
        return actions

    def constant(actions):
        actions[:, 3] = 0.25
        return actions

    def far(actions):
        actions[7:, 1] = 2.0
        return actions

    assert 'more than half of the frames are idle' in bad_set(tmp_path / 'a', still)[-1]
    assert 'action Joint4 is 0.25 in every frame' in bad_set(tmp_path / 'b', constant)
    warnings = bad_set(tmp_path / 'c', far)
    assert any(
        'frame 7: the target of Joint2 leaves its limits (23 frames)' in warning
        for warning in warnings
    )
    assert any('frame 6: the target of Joint2 is faster than allowed' in w for w in warnings)


def test_contact_sheet_shows_frames_in_order(dataset):
    sheet = contact_sheet(open_source(dataset), [0, 2], columns=5, width=64)
    assert sheet.shape == (2 * (18 + 2 * 48), 5 * 64, 3)
    row = sheet[18 : 18 + 48]
    shown = [frame_of(row[:, 64 * i : 64 * (i + 1)]) for i in range(5)]
    assert shown == [0, 5, 10, 14, 19]


@pytest.mark.slow(reason='plots')
def test_command_line_writes_images(dataset, tmp_path, capsys):
    arguments = [str(dataset), '--output', str(tmp_path / 'out'), '--rerun', 'no', '--web']
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert '3 episodes, 60 frames, 0.1 min; 20 to 20 frames an episode' in out
    assert 'cameras: third_person 64x48, wrist 64x48' in out
    assert 'robot alicia_d, actions for the model: joint_position' in out
    names = {file.name for file in (tmp_path / 'out').iterdir()}
    expected = {f'episode_{n:06d}.png' for n in range(3)}
    expected |= {'contact_sheet.png', 'index.html'}
    assert names == expected
    plot = cv2.imread(str(tmp_path / 'out/episode_000001.png'))
    assert plot.shape[0] > 400
    assert np.unique(plot.reshape(-1, 3), axis=0).shape[0] > 50
    assert main([str(dataset), '--output', str(tmp_path / 'x'), '--episode', '3']) == 1
    assert 'episode 3: expected 0 to 2' in capsys.readouterr().out


def test_missing_rerun_is_reported(dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'rerun', None)
    arguments = [str(dataset), '--output', str(tmp_path / 'x'), '--rerun', 'yes']
    assert main(arguments) == 1
    assert 'rerun is not installed: pip install rerun-sdk' in capsys.readouterr().out


def test_rerun_recordings(dataset, tmp_path):
    pytest.importorskip('rerun', reason='rerun-sdk is not installed')
    arguments = [str(dataset), '--output', str(tmp_path / 'x'), '--episode', '1', '--rerun', 'yes']
    assert main(arguments) == 0
    assert (tmp_path / 'x/episode_000001.rrd').stat().st_size > 10_000


@pytest.mark.parametrize('rotate', [0, 90, 180, 270])
def test_upright_images_go_back_to_what_the_camera_gave(tmp_path, rotate):
    turned = contract(rotate=rotate)
    views = {camera: image(0, 3) for camera in turned.cameras}
    with DatasetWriter(tmp_path / 'set', turned, storage='image') as writer:
        writer.add_episode([Observation(views, states(1)[0], 'pick', 0.0)], targets(1))
    upright = next(iter(open_source(tmp_path / 'set').images(0, 'wrist', [0])))
    np.testing.assert_array_equal(as_camera(upright, rotate), image(0, 3))
