# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What LIBERO's simulator knows and its cameras do not tell; for `worker.py`, only for experts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.libero.expert import CONTAINER, CORNERS, OBSTACLES, TARGET

CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
CAMERAS = ('agentview', 'robot0_eye_in_hand')  # the policy's, in its order
POINTS = 'points'


class SimulatorState:
    """Poses and shapes of a scene.

    Args:
        env: robosuite's environment.

    Attributes:
        names: of the objects, the container last, as an instruction has them.

    Raises:
        ValueError: the task is not about one object and one container.
    """

    def __init__(self, env: Any) -> None:
        self._env = env
        if len(env.obj_of_interest) != 2:
            raise ValueError(f'no expert for a task with {env.obj_of_interest}')
        self._target, self._container = env.obj_of_interest
        others = [name for name in env.objects_dict if name != self._container]
        self._objects = [*others, self._container]
        self.names = [re.sub(r'_\d+$', '', name).replace('_', ' ') for name in self._objects]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `expert.BasketExpert` asks for."""
        others = [
            self._corners(name)
            for name in self._objects
            if name not in (self._target, self._container)
        ]
        return {
            CORNERS: self._corners(self._target),
            OBSTACLES: np.concatenate(others) if others else np.zeros((0, 8, 3)),
            TARGET: self._position(self._target), CONTAINER: self._position(self._container),
        }  # fmt: skip

    def points(self) -> np.ndarray:
        """Return (C, N, 3): where each camera of the policy sees the middle of each object.

        As fractions of width and height of the upright image, and 1 where it is in sight.
        """
        middles = [self._corners(name).mean((0, 1)) for name in self._objects]
        return np.array([self._seen(camera, middles) for camera in CAMERAS])

    def _position(self, name: str) -> np.ndarray:
        return np.array(self._env.sim.data.body_xpos[self._env.obj_body_id[name]], float)

    def _corners(self, name: str) -> np.ndarray:
        """Return (N, 8, 3) corners [m] of the boxes with which an object collides."""
        import mujoco

        model, data = self._env.sim.model._model, self._env.sim.data._data
        body = self._env.obj_body_id[name]
        geoms = np.flatnonzero((model.geom_bodyid == body) & (model.geom_contype > 0))
        if not len(geoms) or any(model.geom_type[geoms] != mujoco.mjtGeom.mjGEOM_BOX):
            raise ValueError(f'no expert for {name}: it collides not only with boxes')
        turns = data.geom_xmat[geoms].reshape(-1, 3, 3)
        local = CUBE * model.geom_size[geoms][:, None]
        return data.geom_xpos[geoms][:, None] + local @ turns.transpose(0, 2, 1)

    def _seen(self, camera: str, points: Sequence[np.ndarray]) -> np.ndarray:
        import mujoco

        model, data = self._env.sim.model._model, self._env.sim.data._data
        number = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        eye, axes = data.cam_xpos[number], data.cam_xmat[number].reshape(3, 3)
        # It looks along -z. The policy's images are mirrored: LIBERO turns by 180° what is
        # upside down.
        local = (np.array(points) - eye) @ axes
        half = np.tan(np.radians(model.cam_fovy[number]) / 2) * np.maximum(-local[:, 2], 1e-6)
        u, v = 0.5 - local[:, 0] / half / 2, 0.5 - local[:, 1] / half / 2
        sight = (local[:, 2] < 0) & (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
        hit, shown = np.zeros(1, np.int32), np.array([0, 1, 0, 0, 0, 0], np.uint8)
        for index in np.flatnonzero(sight):
            body = self._env.obj_body_id[self._objects[index]]
            mujoco.mj_ray(model, data, eye, points[index] - eye, shown, 1, -1, hit)
            sight[index] = hit[0] >= 0 and model.geom_bodyid[hit[0]] == body
        return np.stack([u, v, sight], axis=-1)
