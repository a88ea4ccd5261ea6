# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The camera placement guide says what the simulated bench is."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mujoco', reason='needs the simulation')

from camera_placement import camera_facts, main
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.rendering import RenderingError

GUIDE = (Path(__file__).resolve().parents[2] / 'docs' / 'hardware.md').read_text()
CAMERAS = ['third_person', 'wrist']


@pytest.fixture(scope='module')
def simulation():
    simulation = ArmSimulation()
    yield simulation
    simulation.close()


def in_guide(camera):
    """Numbers with their units in the camera's column of the placement table."""
    rows = [
        [cell.strip(' `') for cell in line.strip().strip('|').split('|')]
        for line in GUIDE.splitlines()
        if line.startswith('|')
    ]
    head = next(row for row in rows if [c.replace(' ', '_') for c in row[1:]] == CAMERAS)
    start, column = rows.index(head) + 2, CAMERAS.index(camera) + 1
    text = ' '.join(row[column] for row in rows[start : start + 3])
    return set(re.findall(r'\d+(?: cm|°)', text))


def test_third_person_camera_stands_where_the_guide_says(simulation):
    facts = camera_facts(simulation, 'third_person')
    lengths = facts['x'], -facts['y'], facts['height'], facts['distance']
    angles = facts['down'], facts['horizontal_field'], facts['vertical_field']
    measured = {f'{100 * value:.0f} cm' for value in lengths} | {f'{v:.0f}°' for v in angles}
    assert measured <= in_guide('third_person')
    # It looks at the workspace, not past it.
    assert 0.1 < facts['looks_at_x'] < 0.4
    assert abs(facts['looks_at_y']) < 0.1


def test_wrist_camera_looks_where_the_guide_says(simulation):
    facts = camera_facts(simulation, 'wrist')
    angles = 90 - facts['down'], facts['horizontal_field'], facts['vertical_field']
    assert {f'{value:.0f}°' for value in angles} <= in_guide('wrist')


def test_image_shows_bench_fields_of_view_and_both_cameras(tmp_path):
    import cv2

    try:
        code = main([str(tmp_path / 'out.png')])
    except RenderingError as error:
        pytest.skip(str(error))
    assert code == 0
    drawn = cv2.imread(str(tmp_path / 'out.png'))[..., ::-1].astype(int)
    height, width, _ = drawn.shape
    assert width == 1280
    assert height > 1000
    red, green, blue = drawn[:600].reshape(-1, 3).T
    assert ((red > 180) & (green < 150) & (blue < 90)).sum() > 500  # the third person's edges
    assert ((blue > 180) & (red < 80)).sum() > 500  # the wrist camera's
    third, wrist = drawn[-480:, :640], drawn[-480:, 640:]
    assert np.abs(third - wrist).mean() > 20
    assert third.std() > 20
