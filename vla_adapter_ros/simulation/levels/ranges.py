# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The levels: what varies between episodes, and by how much. The one table of all ranges.

The same levels are for collection and for evaluation. Each episode draws from its own seed, in
streams apart from those of table, start pose and instruction: a scene is the same at each level.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.simulation.servo_arm import COUNT

Range = tuple[float, float]


class Stream(IntEnum):
    """Streams of random numbers of an episode; one may change without moving the others."""

    LOOK = 11
    IMAGE = 12
    DYNAMICS = 13
    CLUTTER = 14
    KITCHEN_LOOK = 15
    KITCHEN_MASS = 16


@dataclass(frozen=True)
class Level:
    """Ranges (low, high) of one level, uniformly drawn; a single number is ± that number.

    Attributes:
        name: of the level.
        start_spread: half width [m] of the box around the ready pose in which the tool starts.
        closed_start: chance that the gripper starts closed.
        lamps: number of lamps.
        light: strength of all lamps together, 1 as built.
        ambient: strength of the light from everywhere, 1 as built.
        lamp_tilt: of a lamp's direction [rad] from that of the lamp as built.
        temperature: colour temperature of the lamps [K]; 6500 is white.
        adaptation: how much of that colour the camera's white balance takes away.
        camera_shift, camera_turn: of the third-person camera along each axis [m], [rad].
        wrist_shift, wrist_turn: of the wrist camera [m], [rad].
        view_angle: change of both cameras' field of view, as a fraction.
        table_texture, object_texture: chance of a pattern.
        table_tint, object_tint, arm_tint: change of each colour channel.
        object_shade: brightness of objects, 1 as built.
        clutter: things on the table that are never named.
        exposure: of an image [stops].
        gamma: of an image.
        blur: standard deviation of the lens's blur [px at 240 rows].
        noise: standard deviation [of 255].
        jpeg: quality in percent; (0, 0): no JPEG.
        delay: from a command to the servos [s].
        feedback_rate: of the joints' readings [Hz], in whole servo counts; 0: exact, at any time.
        rest_error: joints rest this far beside their target [rad].
        gain: stiffness of the servos, 1 as built.
        feed_forward: of the commanded velocity; 1 follows without lag, 0 lags by kv / kp.
        finger_friction, friction: of fingers and of objects, 1 as built.
        mass: of objects, 1 as built.
    """

    name: str
    start_spread: float = 0.06
    closed_start: float = 0.1
    lamps: tuple[int, int] = (1, 1)
    light: Range = (1.0, 1.0)
    ambient: Range = (1.0, 1.0)
    lamp_tilt: float = 0.0
    temperature: Range = (6500.0, 6500.0)
    adaptation: Range = (1.0, 1.0)
    camera_shift: float = 0.0
    camera_turn: float = 0.0
    wrist_shift: float = 0.0
    wrist_turn: float = 0.0
    view_angle: float = 0.0
    table_texture: float = 0.0
    object_texture: float = 0.0
    table_tint: float = 0.0
    object_tint: float = 0.0
    arm_tint: float = 0.0
    object_shade: Range = (1.0, 1.0)
    clutter: tuple[int, int] = (0, 0)
    exposure: float = 0.0
    gamma: Range = (1.0, 1.0)
    blur: Range = (0.0, 0.0)
    noise: Range = (0.0, 0.0)
    jpeg: tuple[int, int] = (0, 0)
    delay: Range = (0.0, 0.0)
    feedback_rate: float = 0.0
    rest_error: float = 0.0
    gain: Range = (1.0, 1.0)
    feed_forward: Range = (1.0, 1.0)
    finger_friction: Range = (1.0, 1.0)
    friction: Range = (1.0, 1.0)
    mass: Range = (1.0, 1.0)

    @property
    def varies(self) -> bool:
        """Whether anything but start pose and gripper is drawn."""
        return self.name != NOMINAL

    def random(self, seed: int, stream: Stream) -> np.random.Generator:
        """Return the random numbers of an episode for one purpose.

        Args:
            seed: of the episode's look (`SceneLayout.look_seed`).
            stream: the purpose.
        """
        return np.random.default_rng((seed, stream))


NOMINAL = 'nominal'
# What a policy is trained with unless somebody wants something else.
BENCH = 'bench'

LEVELS: dict[str, Level] = {
    level.name: level
    for level in (
        Level(NOMINAL),
        # A lab's table on another day: other lamps, a camera that was put back by hand, the real
        # servos' feedback and delay.
        Level(
            BENCH,
            lamps=(1, 2),
            light=(0.65, 1.3),
            ambient=(0.7, 1.3),
            lamp_tilt=0.5,
            temperature=(3500.0, 7000.0),
            adaptation=(0.6, 1.0),
            camera_shift=0.012,
            camera_turn=0.02,
            wrist_shift=0.002,
            wrist_turn=0.02,
            view_angle=0.015,
            table_texture=0.5,
            table_tint=0.08,
            object_tint=0.05,
            arm_tint=0.04,
            object_shade=(0.85, 1.1),
            clutter=(0, 1),
            exposure=0.3,
            gamma=(0.9, 1.1),
            blur=(0.0, 0.6),
            noise=(0.0, 4.0),
            jpeg=(70, 95),
            delay=(0.02, 0.08),
            feedback_rate=20.0,
            rest_error=1.2 * COUNT,
            gain=(0.8, 1.2),
            feed_forward=(0.5, 1.0),
            finger_friction=(0.75, 1.1),
            friction=(0.75, 1.25),
            mass=(0.6, 1.5),
        ),
        # Another lab: other tables, strong and coloured light, a camera that hangs askew.
        Level(
            'hard',
            lamps=(1, 3),
            light=(0.4, 1.6),
            ambient=(0.5, 1.6),
            lamp_tilt=0.9,
            temperature=(2500.0, 8000.0),
            adaptation=(0.4, 1.0),
            camera_shift=0.025,
            camera_turn=0.05,
            wrist_shift=0.005,
            wrist_turn=0.05,
            view_angle=0.04,
            table_texture=0.8,
            object_texture=0.3,
            table_tint=0.2,
            object_tint=0.08,
            arm_tint=0.1,
            object_shade=(0.7, 1.15),
            clutter=(0, 3),
            exposure=0.6,
            gamma=(0.75, 1.3),
            blur=(0.0, 1.2),
            noise=(0.0, 10.0),
            jpeg=(40, 95),
            delay=(0.02, 0.12),
            feedback_rate=20.0,
            rest_error=1.2 * COUNT,
            gain=(0.6, 1.3),
            feed_forward=(0.0, 1.0),
            finger_friction=(0.55, 1.1),
            friction=(0.5, 1.5),
            mass=(0.4, 2.0),
        ),
    )
}


def find_level(name: str) -> Level:
    """Return a level by name. Raises VLAAdapterError listing the names."""
    if name not in LEVELS:
        raise VLAAdapterError(f'level {name!r} is unknown; expected {", ".join(LEVELS)}')
    return LEVELS[name]
