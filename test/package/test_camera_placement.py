# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The camera placement guide says what the simulated bench is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mujoco', reason='needs the simulation')

from camera_placement import camera_facts, main
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.rendering import RenderingError

GUIDE = (Path(__file__).resolve().parents[2] / 'docs' / 'hardware.md').read_text()


@pytest.fixture(scope='module')
def simulation():
    simulation = ArmSimulation()
    yield simulation
    simulation.close()


def test_third_person_camera_stands_where_the_guide_says(simulation):
    facts = camera_facts(simulation, 'third_person')
    place = (
        f'{facts["x"] * 100:.0f} cm in front of the base, {-facts["y"] * 100:.0f} cm to its right,'
        f' {facts["height"] * 100:.0f} cm high'
    )
    assert place in GUIDE
    assert f'{facts["down"]:.0f}° down, {facts["distance"] * 100:.0f} cm to the table' in GUIDE
    assert f'{facts["horizontal_field"]:.0f}° × {facts["vertical_field"]:.0f}°' in GUIDE
    # It looks at the workspace, not past it.
    assert 0.1 < facts['looks_at_x'] < 0.4
    assert abs(facts['looks_at_y']) < 0.1


def test_wrist_camera_looks_where_the_guide_says(simulation):
    facts = camera_facts(simulation, 'wrist')
    assert f'{90 - facts["down"]:.0f}° from straight down' in GUIDE
    assert f'{facts["horizontal_field"]:.0f}° × {facts["vertical_field"]:.0f}°' in GUIDE


def test_picture_shows_bench_fields_of_view_and_both_cameras(tmp_path):
    import cv2

    try:
        code = main([str(tmp_path / 'out.png')])
    except RenderingError as error:
        pytest.skip(str(error))
    assert code == 0
    picture = cv2.imread(str(tmp_path / 'out.png'))[..., ::-1].astype(int)
    height, width, _ = picture.shape
    assert width == 1280
    assert height > 1000
    red, green, blue = picture[:600].reshape(-1, 3).T
    assert ((red > 180) & (green < 150) & (blue < 90)).sum() > 500  # the third person's edges
    assert ((blue > 180) & (red < 80)).sum() > 500  # the wrist camera's
    third, wrist = picture[-480:, :640], picture[-480:, 640:]
    assert np.abs(third - wrist).mean() > 20
    assert third.std() > 20
