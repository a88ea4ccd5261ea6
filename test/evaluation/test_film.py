# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The demo's film and plot are real files that show what was recorded."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from vla_adapter_ros.evaluation.film import (
    packed,
    plot_joints,
    side_by_side,
    unpacked,
    write_gif,
)


def test_views_stand_side_by_side_over_a_caption():
    left = np.full((480, 640, 3), 10, np.uint8)
    right = np.full((240, 320, 3), 200, np.uint8)
    image = side_by_side([left, right], 'hello', height=120)
    assert image.shape == (146, 320, 3)
    assert image[60, 40, 0] == 10 and image[60, 280, 0] == 200
    assert image[120:].max() > 200, 'the caption is written in light letters'


def test_film_keeps_its_frames_and_speed(tmp_path):
    frames = [np.full((40, 60, 3), value, np.uint8) for value in (0, 120, 240)]
    write_gif(tmp_path / 'film.gif', frames, 8.0)
    film = Image.open(tmp_path / 'film.gif')
    assert film.n_frames == 3 and film.size == (60, 40)
    # GIF counts in hundredths of a second.
    assert film.info['duration'] == pytest.approx(125, abs=10)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['film.gif']


def test_frames_that_were_packed_as_text_are_nearly_the_same():
    ramp = np.linspace(0, 255, 320).astype(np.uint8)
    frames = [np.tile(np.roll(ramp, k)[None, :, None], (240, 1, 3)) for k in (0, 40)]
    frames[1][:, :160, 2] = 0
    again = unpacked(json.loads(json.dumps(packed(frames))))
    assert len(again) == 2
    for frame, other in zip(frames, again, strict=True):
        assert np.abs(frame.astype(int) - other).mean() < 4.0


def test_film_without_frames_is_refused(tmp_path):
    with pytest.raises(ValueError, match='no frames'):
        write_gif(tmp_path / 'film.gif', [], 8.0)


def test_plot_has_a_panel_for_every_joint(tmp_path):
    times = np.linspace(0.0, 1.0, 20)
    measured = np.tile(times[:, None], (1, 7))
    plot_joints(
        tmp_path / 'joints.png', (times, measured), (times[::4], measured[::4]),
        [f'J{i}' for i in range(7)], 'a run', {0.5: 'stop'},
    )  # fmt: skip
    image = np.asarray(Image.open(tmp_path / 'joints.png').convert('L'))
    assert image.shape[0] > 400 and image.shape[1] > 800
    # Each of the seven panels has dark axes; the eighth place stays empty.
    height, width = image.shape
    last_row = image[int(0.77 * height) :]
    assert (last_row[:, : width // 2] < 100).sum() > 5 * (last_row[:, width // 2 :] < 100).sum()
