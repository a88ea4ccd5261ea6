# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Colours, light and camera pose of the scene: as built, or varied at random."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import numpy as np

from vla_adapter_ros.simulation.layout import COLOURS, SceneLayout, SceneOptions
from vla_adapter_ros.simulation.scene import THIRD_PERSON

THIRD_PERSON_TARGET = (0.245, 0.005, 0.055)  # the point that the camera looks at [m]
CAMERA_SHIFT = 0.02  # [m]
TARGET_SHIFT = 0.015  # [m]
COLOUR_SHIFT = 0.06


def look_at(position: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the (3, 3) camera axes (right, up, back as columns) looking at `target`, z up."""
    back = np.asarray(position, float) - np.asarray(target, float)
    back /= np.linalg.norm(back)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    return np.column_stack([right, np.cross(back, right), back])


class Appearance:
    """Paints a model. The model's own colours, light and cameras are kept as the base."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._rgba = model.geom_rgba.copy()
        self._diffuse = model.light_diffuse.copy()
        self._direction = model.light_dir.copy()
        self._camera = int(model.camera(THIRD_PERSON).id)
        self._position = model.cam_pos[self._camera].copy()

    def apply(self, options: SceneOptions, layout: SceneLayout, slots: Mapping[str, str]) -> None:
        """Paint objects in their colours; vary the enabled options with the layout's seed.

        Args:
            options: which properties to vary.
            layout: the objects, and the seed of the look.
            slots: object name → name of its geom.
        """
        rng = np.random.default_rng(layout.look_seed)
        self._model.geom_rgba[:] = self._rgba
        for item in layout.objects:
            geom = self._model.geom(slots[item.name])
            geom.rgba = (*COLOURS[item.colour], 1.0)
        self._vary_colours(rng, options.random_colour)
        self._vary_light(rng, options.random_light)
        self._vary_camera(rng, options.random_camera)

    def _vary_colours(self, rng: np.random.Generator, enabled: bool) -> None:
        shift = rng.uniform(-COLOUR_SHIFT, COLOUR_SHIFT, (self._model.ngeom, 3))
        if enabled:
            rgb = self._model.geom_rgba[:, :3]
            self._model.geom_rgba[:, :3] = np.clip(rgb + shift, 0.0, 1.0)

    def _vary_light(self, rng: np.random.Generator, enabled: bool) -> None:
        strength, tilt = rng.uniform(0.7, 1.25), rng.uniform(-0.4, 0.4, 2)
        self._model.light_diffuse[:] = self._diffuse * (strength if enabled else 1.0)
        self._model.light_dir[:] = self._direction
        if enabled:
            self._model.light_dir[:, :2] += tilt
            norms = np.linalg.norm(self._model.light_dir, axis=1, keepdims=True)
            self._model.light_dir[:] /= norms

    def _vary_camera(self, rng: np.random.Generator, enabled: bool) -> None:
        scale = 1.0 if enabled else 0.0
        position = self._position + scale * rng.uniform(-1, 1, 3) * CAMERA_SHIFT
        target = np.array(THIRD_PERSON_TARGET) + scale * rng.uniform(-1, 1, 3) * TARGET_SHIFT
        self._model.cam_pos[self._camera] = position
        quaternion = np.empty(4)
        mujoco.mju_mat2Quat(quaternion, look_at(position, target).ravel())
        self._model.cam_quat[self._camera] = quaternion
