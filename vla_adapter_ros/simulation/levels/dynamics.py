# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Servos, friction and masses of the model: as built, or as a level draws them."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from vla_adapter_ros.simulation.levels.ranges import Level, Stream
from vla_adapter_ros.simulation.levels.servo_link import ServoLink
from vla_adapter_ros.simulation.scene import KITCHEN_BODIES

_ARM_JOINTS = 6


class Dynamics:
    """Changes a model's servos and contacts. The model's own values are kept as the base.

    Args:
        model: to change.
        bodies: the movable objects, kitchen things last.

    Attributes:
        lead: (7,) [s] time by which a commanded velocity is sent ahead of its position.
        lag: [s] longest time by which the arm, as it is read, is behind its command.
    """

    _NAMES = (
        'actuator_gainprm', 'actuator_biasprm', 'geom_friction', 'body_mass', 'body_inertia',
        'body_subtreemass', 'body_invweight0', 'dof_invweight0', 'dof_M0', 'actuator_acc0',
        'tendon_invweight0', 'body_contype', 'body_conaffinity',
    )  # fmt: skip

    def __init__(self, model: mujoco.MjModel, bodies: Sequence[str]) -> None:
        self._model = model
        self._base = {name: getattr(model, name).copy() for name in self._NAMES}
        self._bodies = [int(model.body(name).id) for name in bodies]
        self._objects = np.isin(model.geom_bodyid, self._bodies)
        fingers = [int(model.body(f'{side}_finger').id) for side in ('left', 'right')]
        self._fingers = np.isin(model.geom_bodyid, fingers)
        # A target moving at v is followed without lag when the servo gets target + kv / kp * v.
        self._full_lead = -model.actuator_biasprm[:, 2] / model.actuator_gainprm[:, 0]
        self.lead, self.lag = self._full_lead, 0.0

    def apply(self, level: Level, seed: int) -> ServoLink:
        """Set the values of an episode and return the link to its servos."""
        model = self._model
        for name, value in self._base.items():
            getattr(model, name)[:] = value
        self.lead, self.lag = self._full_lead, 0.0
        if not level.varies:
            return ServoLink()
        rng = level.random(seed, Stream.DYNAMICS)
        gain = np.append(rng.uniform(*level.gain, _ARM_JOINTS), 1.0)
        forward = rng.uniform(*level.feed_forward)
        model.actuator_gainprm[:, 0] *= gain
        model.actuator_biasprm[:, 1] *= gain
        self.lead = self._full_lead * forward
        model.geom_friction[self._fingers, 0] *= rng.uniform(*level.finger_friction)
        model.geom_friction[self._objects, 0] *= rng.uniform(*level.friction)
        masses = rng.uniform(*level.mass, len(self._bodies) - len(KITCHEN_BODIES))
        kitchen = level.random(seed, Stream.KITCHEN_MASS).uniform(*level.mass, len(KITCHEN_BODIES))
        masses = np.append(masses, kitchen)
        model.body_mass[self._bodies] *= masses
        model.body_inertia[self._bodies] *= masses[:, None]
        # What MuJoCo derived from the masses; left as it was, contacts would explode.
        mujoco.mj_setConst(model, mujoco.MjData(model))
        delay, period = rng.uniform(*level.delay), 1.0 / level.feedback_rate
        rest = np.append(rng.uniform(-1, 1, _ARM_JOINTS) * level.rest_error, 0.0)
        self.lag = float(delay + period + np.max(self._full_lead[:_ARM_JOINTS] / gain[:_ARM_JOINTS]
                                                 - self.lead[:_ARM_JOINTS]))  # fmt: skip
        return ServoLink(delay, period, rng.uniform(0.0, period), rest)
