# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Names and measures of the MuJoCo scene in `alicia_d.xml`.

Joint origins, axes and limits are those of the vendor's published description of the Alicia-D
v5.6, as in `config/robots/alicia_d.urdf`. Lengths in m, angles in rad. `tool0` lies between the
finger pads; its z axis points back to the wrist, so the gripper points straight down when the z
axis of `tool0` is the z axis of `base_link`. The fingers close along the y axis of `tool0`.
"""

from __future__ import annotations

from pathlib import Path

SCENE_FILE = Path(__file__).with_name('alicia_d.xml')
ARM_JOINT_NAMES = tuple(f'Joint{number}' for number in range(1, 7))
# The driver's joint `Gripper` is the travel of each finger: 0 = open, FINGER_STROKE = closed.
JOINT_NAMES = (*ARM_JOINT_NAMES, 'Gripper')
FINGER_STROKE = 0.025  # [m]
THIRD_PERSON, WRIST = 'third_person', 'wrist'
CAMERA_NAMES = (THIRD_PERSON, WRIST)
PARKING_HEIGHT = -2.0  # of unused objects, without gravity [m]
# Bodies that stand last in the model: what was drawn before there were any stays as it was.
KITCHEN_BODIES = ('duck_0', 'duck_1', 'cup_0', 'cup_1', 'spoon_0', 'bowl_0')
