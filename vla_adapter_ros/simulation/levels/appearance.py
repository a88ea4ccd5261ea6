# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Colours, patterns, lamps and camera poses of the scene: as built, or as a level draws them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import mujoco
import numpy as np

from vla_adapter_ros.simulation.layout import COLOURS, SceneLayout
from vla_adapter_ros.simulation.levels.patterns import PATTERNS, pattern_name
from vla_adapter_ros.simulation.levels.ranges import Level, Stream
from vla_adapter_ros.simulation.scene import CAMERA_NAMES, KITCHEN_BODIES, THIRD_PERSON

# Colours that no instruction names: of clutter.
CLUTTER_COLOURS = (
    (0.55, 0.20, 0.65), (0.80, 0.70, 0.55), (0.40, 0.25, 0.12), (0.95, 0.55, 0.70),
    (0.08, 0.08, 0.09), (0.50, 0.52, 0.55), (0.05, 0.60, 0.65),
)  # fmt: skip
# Light of a black body relative to 6500 K: temperature [K] → red, green, blue.
_WHITE = (
    (2500.0, (1.00, 0.63, 0.28)), (3500.0, (1.00, 0.77, 0.55)), (4500.0, (1.00, 0.86, 0.74)),
    (5500.0, (1.00, 0.93, 0.88)), (6500.0, (1.00, 1.00, 1.00)), (8000.0, (0.87, 0.92, 1.00)),
)  # fmt: skip


def light_colour(temperature: float) -> np.ndarray:
    """Return the (3,) colour of a lamp of a temperature [K], white at 6500 K."""
    known = [kelvin for kelvin, _ in _WHITE]
    channels = np.array([colour for _, colour in _WHITE]).T
    return np.array([np.interp(temperature, known, channel) for channel in channels])


class Appearance:
    """Paints a model. The model's own colours, lamps and cameras are kept as the base."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._rgba = model.geom_rgba.copy()
        self._material = model.geom_matid.copy()
        self._lamps = {
            name: getattr(model, name).copy()
            for name in ('light_active', 'light_diffuse', 'light_dir')
        }
        self._ambient = model.vis.headlight.ambient.copy()
        self._cameras = {
            name: getattr(model, name).copy() for name in ('cam_pos', 'cam_quat', 'cam_fovy')
        }
        # Kitchen things come last in the model and have draws of their own: scenes without them
        # look as they did before there were any.
        self._others = int(model.body(KITCHEN_BODIES[0]).geomadr[0])
        self._patterns = [int(model.material(pattern_name(i)).id) for i in range(PATTERNS)]

    def apply(self, level: Level, layout: SceneLayout, slots: Mapping[str, str]) -> None:
        """Paint objects in their colours; vary the scene by the level and the layout's seed.

        Args:
            level: what varies, and by how much.
            layout: the objects, and the seed of the look.
            slots: object name → name of its body.
        """
        self._restore()
        painted: list[int] = []
        for item in layout.objects:
            body = slots[item.name]
            self._colour(body, COLOURS[item.colour])
            if body not in KITCHEN_BODIES:
                painted += self._geoms(body)
        if not level.varies:
            return
        rng = level.random(layout.look_seed, Stream.LOOK)
        self._light(rng, level)
        self._move_cameras(rng, level)
        self._paint_clutter(rng, layout.clutter)
        self._paint(rng, level, painted)
        rng = level.random(layout.look_seed, Stream.KITCHEN_LOOK)
        for item in layout.objects:
            if slots[item.name] in KITCHEN_BODIES:
                tint = np.array(COLOURS[item.colour]) + level.object_tint * rng.uniform(-1, 1, 3)
                shaded = np.clip(tint * rng.uniform(*level.object_shade), 0.0, 1.0)
                self._colour(slots[item.name], shaded)

    def _colour(self, body: str, colour: np.ndarray | tuple[float, float, float]) -> None:
        """Paint a body; details (geoms of group 1) keep their own colour."""
        for geom in self._geoms(body):
            if self._model.geom_group[geom] == 0:
                self._model.geom_rgba[geom, :3] = colour

    def _restore(self) -> None:
        model = self._model
        model.geom_rgba[:], model.geom_matid[:] = self._rgba, self._material
        model.vis.headlight.ambient[:] = self._ambient
        for name, value in (*self._lamps.items(), *self._cameras.items()):
            getattr(model, name)[:] = value

    def _geoms(self, body: str) -> list[int]:
        first, count = self._model.body(body).geomadr[0], self._model.body(body).geomnum[0]
        return list(range(first, first + count))

    def _light(self, rng: np.random.Generator, level: Level) -> None:
        """Switch lamps on; together they are as strong as drawn."""
        model = self._model
        count = int(rng.integers(level.lamps[0], level.lamps[1] + 1))
        shares = rng.dirichlet(np.full(count, 4.0)) * rng.uniform(*level.light)
        cast = 1.0 - rng.uniform(*level.adaptation)
        for number in range(count):
            colour = light_colour(rng.uniform(*level.temperature)) ** cast
            model.light_active[number] = 1
            model.light_diffuse[number] = shares[number] * colour * self._lamps['light_diffuse'][0]
            model.light_dir[number] = self._lamps['light_dir'][0]
            model.light_dir[number, :2] += rng.uniform(-1, 1, 2) * np.tan(level.lamp_tilt)
            model.light_dir[number] /= np.linalg.norm(model.light_dir[number])
        model.vis.headlight.ambient[:] *= rng.uniform(*level.ambient)

    def _move_cameras(self, rng: np.random.Generator, level: Level) -> None:
        for name in CAMERA_NAMES:
            camera = int(self._model.camera(name).id)
            shift, turn = level.wrist_shift, level.wrist_turn
            if name == THIRD_PERSON:
                shift, turn = level.camera_shift, level.camera_turn
            self._model.cam_pos[camera] += shift * rng.uniform(-1, 1, 3)
            mujoco.mju_quatIntegrate(self._model.cam_quat[camera], rng.uniform(-turn, turn, 3), 1)
            self._model.cam_fovy[camera] *= 1.0 + level.view_angle * rng.uniform(-1, 1)

    def _paint_clutter(self, rng: np.random.Generator, bodies: Iterable[str]) -> None:
        colours = rng.permutation(len(CLUTTER_COLOURS))
        for body, number in zip(bodies, colours, strict=False):
            self._model.geom_rgba[self._geoms(body), :3] = CLUTTER_COLOURS[int(number)]

    def _paint(self, rng: np.random.Generator, level: Level, objects: list[int]) -> None:
        """Tint everything but kitchen things, and give table and objects patterns."""
        model = self._model
        table = int(model.geom('table').id)
        count = self._others
        tints = np.full(count, level.arm_tint)
        tints[objects], tints[table] = level.object_tint, level.table_tint
        rgb = model.geom_rgba[:count, :3] + tints[:, None] * rng.uniform(-1, 1, (count, 3))
        rgb[objects] *= rng.uniform(*level.object_shade, (count, 1))[objects]
        model.geom_rgba[:count, :3] = np.clip(rgb, 0.0, 1.0)
        # Drawn for all geoms, so that nothing depends on how many objects there are.
        textured, patterns = rng.random(count), rng.integers(PATTERNS, size=count)
        for geom in (table, *objects):
            chance = level.table_texture if geom == table else level.object_texture
            if textured[geom] < chance:
                model.geom_matid[geom] = self._patterns[int(patterns[geom])]
