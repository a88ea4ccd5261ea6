# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Limits of the shipped contracts against a checkout of MuJoCo Menagerie, named by MENAGERIE_ROOT.

`pip install mujoco-menagerie; mujoco-menagerie path franka_fr3` downloads single models as well.
"""

import os
from pathlib import Path

import pytest

from support.motion_helpers import robot

ROOT = os.environ.get('MENAGERIE_ROOT', '')
MODELS = {
    'so101': 'robotstudio_so101/so101.xml',
    'ur5e_robotiq': 'universal_robots_ur5e/ur5e.xml',
    'franka': 'franka_fr3/fr3.xml',
    'piper': 'agilex_piper/piper.xml',
}
# Rounding of the sources [rad].
TOLERANCE = 2e-3


@pytest.mark.skipif(not ROOT, reason='MENAGERIE_ROOT is not set')
@pytest.mark.parametrize('name', MODELS)
def test_limits_lie_within_those_of_the_model(name):
    mujoco = pytest.importorskip('mujoco')
    # Parsed, not compiled: no meshes are needed.
    spec = mujoco.MjSpec.from_file(str(Path(ROOT) / MODELS[name]))
    ranges = {joint.name: joint.range for joint in spec.joints}
    for joint in robot(name).joints:
        low, high = ranges[joint.name]
        assert low - TOLERANCE <= joint.lower < joint.upper <= high + TOLERANCE, joint.name
        # Not far inside either, which would be another robot's.
        assert joint.upper - joint.lower >= 0.66 * (high - low), joint.name
