# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The MuJoCo model (MJCF) of arm, gripper, table, objects and cameras, from simple shapes."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.simulation.alicia_d import (
    ARM_JOINTS,
    FINGER_STROKE,
    LEFT_FINGER_ORIGIN,
    RIGHT_FINGER_ORIGIN,
    JointRow,
    Vector,
)
from vla_adapter_ros.simulation.layout import PLATE_HEIGHT, PLATE_RADIUS, SHAPE_SLOTS

THIRD_PERSON, WRIST = 'third_person', 'wrist'
CAMERA_NAMES = (THIRD_PERSON, WRIST)
THIRD_PERSON_POSITION: Vector = (0.78, -0.16, 0.46)
THIRD_PERSON_TARGET: Vector = (0.245, 0.005, 0.055)
THIRD_PERSON_FIELD = 32  # vertical field of view [degrees]
WRIST_TILT = 0.5  # of the view from straight down [rad]
WRIST_FIELD = 74
# Largest image that can be rendered (the offscreen frame buffer) [px].
MAX_WIDTH, MAX_HEIGHT = 1280, 960

# Position servos: stiffness [N m/rad], damping [N m s/rad], torque limit [N m].
SERVOS = ((400, 28, 40), (400, 28, 40), (300, 20, 40), (120, 7, 15), (120, 7, 15), (60, 3, 8))
LINK_MASSES = (0.3, 0.3, 0.25, 0.2, 0.15, 0.2)
LINK_RADII = (0.036, 0.026, 0.026, 0.024, 0.022, 0.02)

OBJECT_GEOMS = {
    'block': 'type="box" size="0.016 0.016 0.016" mass="0.03" friction="1.0 0.01 0.0005"',
    'cylinder': 'type="cylinder" size="0.015 0.02" mass="0.03" friction="1.0 0.01 0.0005"',
    # A ball must come to rest on the table: six contact dimensions bring rolling friction.
    'ball': 'type="sphere" size="0.017" mass="0.03" condim="6" friction="1.0 0.01 0.002"',
}
# Unused objects wait here, far below the table, without gravity.
PARKING_HEIGHT = -2.0


def _text(values: Vector | np.ndarray) -> str:
    return ' '.join(f'{float(v):.9g}' for v in values)


def look_at(position: Vector | np.ndarray, target: Vector | np.ndarray) -> np.ndarray:
    """Return the (3, 3) camera axes (right, up, back as columns) looking at `target`, z up."""
    back = np.asarray(position, float) - np.asarray(target, float)
    back /= np.linalg.norm(back)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    return np.column_stack([right, np.cross(back, right), back])


def _finger(side: str, origin: tuple[Vector, Vector], sign: int) -> str:
    """Return one finger; the pad's inner face is the body's origin plane."""
    # In the finger frames y runs along the finger (-sign points to the palm) and z closes.
    return f"""
      <body name="{side}_finger" pos="{_text(origin[0])}" euler="{_text(origin[1])}" gravcomp="1">
        <joint name="{side}_finger" type="slide" axis="0 0 {sign}" range="0 {FINGER_STROKE}"
               damping="2" armature="0.02"/>
        <geom class="finger" pos="0 {-0.016 * sign} {-0.005 * sign}" size="0.009 0.0275 0.005"/>
        <geom class="arm_visual" type="box" pos="0 {-0.046 * sign} {-0.009 * sign}"
              size="0.011 0.007 0.009" rgba="0.13 0.13 0.15 1"/>
      </body>"""


def _wrist_camera() -> str:
    """Return the camera over the fingers, looking at the table below them.

    Mounted so that with the gripper down the image's right is the base frame's +y, as in the
    third-person view: a direction word means the same direction in both images.
    """
    position = np.array([-0.075, 0.0, -0.05])
    back = np.array([-np.sin(WRIST_TILT), 0.0, np.cos(WRIST_TILT)])
    right = np.array([0.0, -1.0, 0.0])
    axes = np.concatenate([right, np.cross(back, right)])
    return (
        f'<camera name="{WRIST}" pos="{_text(position)}" xyaxes="{_text(axes)}" '
        f'fovy="{WRIST_FIELD}"/>\n'
        '<geom class="arm_visual" type="box" pos="-0.075 0 -0.036" size="0.011 0.024 0.009" '
        'rgba="0.2 0.2 0.22 1"/>\n'
        '<geom class="arm_visual" type="box" pos="-0.045 0 -0.03" size="0.03 0.008 0.004"/>'
    )


def _gripper() -> str:
    return f"""
      <geom class="arm" type="cylinder" fromto="0 0 0.01 0 0 -0.045" size="0.02"/>
      <geom class="arm" type="box" pos="0 0 -0.06" size="0.018 0.045 0.015"
            rgba="0.25 0.25 0.28 1"/>
      <site name="tool0" pos="0 0 -0.13" size="0.003" rgba="0 0 0 0"/>
      {_wrist_camera()}
      {_finger('left', LEFT_FINGER_ORIGIN, 1)}
      {_finger('right', RIGHT_FINGER_ORIGIN, -1)}"""


def _arm(index: int = 0) -> str:
    """Return the body of joint `index` with all that hangs on it."""
    if index == len(ARM_JOINTS):
        return _gripper()
    row = ARM_JOINTS[index]
    end = ARM_JOINTS[index + 1].xyz if index + 1 < len(ARM_JOINTS) else (0.0, 0.0, -0.02)
    return f"""
    <body name="{row.child}" pos="{_text(row.xyz)}" euler="{_text(row.rpy)}" gravcomp="1">
      {_arm_joint(row)}
      <geom class="arm" type="capsule" fromto="0 0 0 {_text(end)}" size="{LINK_RADII[index]}"
            mass="{LINK_MASSES[index]}"/>
      <geom class="arm_visual" type="cylinder" size="{LINK_RADII[index] + 0.004} 0.027"
            rgba="0.25 0.25 0.28 1"/>
      {_arm(index + 1)}
    </body>"""


def _arm_joint(row: JointRow) -> str:
    return (
        f'<joint name="{row.name}" axis="{_text(row.axis)}" range="{row.lower} {row.upper}" '
        'armature="0.05" damping="0.5"/>'
    )


def _objects() -> str:
    bodies = []
    for shape, slots in SHAPE_SLOTS.items():
        for slot in range(slots):
            bodies.append(
                f'<body name="{shape}_{slot}" pos="0 0 {PARKING_HEIGHT}">'
                f'<freejoint name="{shape}_{slot}"/>'
                f'<geom name="{shape}_{slot}" class="object" {OBJECT_GEOMS[shape]}/></body>'
            )
    return '\n'.join(bodies)


def _actuators() -> str:
    servos = [
        f'<position name="{row.name}" joint="{row.name}" kp="{kp}" kv="{kv}" '
        f'ctrlrange="{row.lower} {row.upper}" forcerange="-{limit} {limit}" ctrllimited="false"/>'
        for row, (kp, kv, limit) in zip(ARM_JOINTS, SERVOS, strict=True)
    ]
    # One servo moves both fingers, as in the real gripper; ±16 N at the tendon are about 8 N a
    # finger, enough for the 30 g objects and too little to crush them through each other.
    servos.append(
        '<position name="Gripper" tendon="gripper" kp="4000" kv="120" forcerange="-16 16" '
        f'ctrlrange="0 {FINGER_STROKE}" ctrllimited="true"/>'
    )
    return '\n'.join(servos)


def scene_xml() -> str:
    """Return the MJCF of the whole scene; every object stands in the parking place."""
    camera_axes = look_at(THIRD_PERSON_POSITION, THIRD_PERSON_TARGET).T
    # Shadows and multisampling cost 5 to 8 times the rest of an image on a CPU.
    return f"""
<mujoco model="alicia_d_table">
  <compiler angle="radian" eulerseq="XYZ" autolimits="true"/>
  <option timestep="0.005" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <visual>
    <global offwidth="{MAX_WIDTH}" offheight="{MAX_HEIGHT}" fovy="40"/>
    <quality shadowsize="0" offsamples="0"/>
    <headlight ambient="0.38 0.38 0.38" diffuse="0.25 0.25 0.25" specular="0 0 0"/>
    <map znear="0.02" zfar="20"/>
  </visual>
  <default>
    <default class="arm">
      <geom contype="2" conaffinity="1" rgba="0.88 0.89 0.91 1" friction="0.6 0.005 0.0001"/>
    </default>
    <default class="arm_visual">
      <geom contype="0" conaffinity="0" rgba="0.88 0.89 0.91 1" mass="0.01"/>
    </default>
    <default class="finger">
      <geom type="box" contype="2" conaffinity="1" rgba="0.13 0.13 0.15 1" mass="0.03" condim="4"
            friction="1.8 0.05 0.001" solref="0.01 1"/>
    </default>
    <default class="object">
      <geom contype="1" conaffinity="3" condim="4" solref="0.01 1"/>
    </default>
    <default class="fixed">
      <geom contype="1" conaffinity="3" friction="0.9 0.01 0.0005"/>
    </default>
  </default>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.80 0.84 0.88"
             rgb2="0.55 0.60 0.66" width="64" height="64"/>
  </asset>
  <worldbody>
    <light name="lamp" pos="0.5 -0.4 1.6" dir="-0.15 0.2 -1" diffuse="0.55 0.55 0.55"
           specular="0.1 0.1 0.1" castshadow="false" directional="true"/>
    <camera name="{THIRD_PERSON}" pos="{_text(THIRD_PERSON_POSITION)}"
            xyaxes="{_text(camera_axes[:2].ravel())}" fovy="{THIRD_PERSON_FIELD}"/>
    <geom name="table" class="fixed" type="box" pos="0.2 0 -0.02" size="0.42 0.5 0.02"
          rgba="0.47 0.46 0.45 1"/>
    <geom name="floor" type="plane" pos="0 0 -0.7" size="4 4 0.1" rgba="0.30 0.31 0.33 1"
          contype="0" conaffinity="0"/>
    <body name="plate" pos="0 0 {PARKING_HEIGHT}">
      <geom name="plate" class="fixed" type="cylinder" pos="0 0 {PLATE_HEIGHT / 2}"
            size="{PLATE_RADIUS} {PLATE_HEIGHT / 2}" rgba="0.97 0.97 0.97 1"/>
      <geom class="arm_visual" type="cylinder" pos="0 0 0.002" size="{PLATE_RADIUS + 0.006} 0.002"
            rgba="0.12 0.13 0.16 1"/>
    </body>
    <body name="base_link">
      <geom class="arm" type="cylinder" fromto="0 0 0 0 0 0.105" size="0.045"/>
      <geom class="arm" type="box" pos="-0.01 0 0.008" size="0.075 0.06 0.008"
            rgba="0.25 0.25 0.28 1"/>
      {_arm()}
    </body>
    {_objects()}
  </worldbody>
  <tendon>
    <fixed name="gripper">
      <joint joint="left_finger" coef="0.5"/>
      <joint joint="right_finger" coef="0.5"/>
    </fixed>
  </tendon>
  <equality>
    <joint joint1="left_finger" joint2="right_finger" solref="0.005 1"
           solimp="0.95 0.99 0.001"/>
  </equality>
  <actuator>
    {_actuators()}
  </actuator>
</mujoco>
"""
