# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Objects on the table: names, shapes, colours, and random placements.

Frame: `base_link`, z up, the table top is z = 0. x points away from the arm. The third-person
camera looks at the arm from the front, so its image's left is the base frame's -y; "left" in an
instruction always means the left of that image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.simulation.levels.clutter import place_clutter
from vla_adapter_ros.simulation.levels.ranges import NOMINAL, find_level

COLOURS: dict[str, tuple[float, float, float]] = {
    'red': (0.85, 0.08, 0.08),
    'green': (0.10, 0.62, 0.15),
    'blue': (0.08, 0.20, 0.85),
    'yellow': (0.95, 0.80, 0.05),
}
# Height of the centre above the surface it stands on [m]; slots in the model of each shape.
BOWL = 'bowl'
SHAPE_HEIGHTS = {
    'block': 0.016, 'cylinder': 0.02, 'ball': 0.017, 'duck': 0.013, 'cup': 0.019, 'spoon': 0.005,
    BOWL: 0.0,
}  # fmt: skip
OBJECT_NAMES = tuple(f'{colour} {shape}' for colour in COLOURS for shape in SHAPE_HEIGHTS)
SHAPE_SLOTS = {'block': 4, 'cylinder': 2, 'ball': 2, 'duck': 2, 'cup': 2, 'spoon': 1, BOWL: 1}
BOWL_FLOOR, BOWL_RIM = 0.004, 0.026  # above where it stands [m]
PLATE_NAME = 'plate'
PLATE_RADIUS = 0.06  # [m]
PLATE_HEIGHT = 0.006  # [m]

# Where the gripper reaches straight down with room to lift, and both cameras see [m].
WORKSPACE_X = (0.18, 0.36)
WORKSPACE_Y = (-0.19, 0.19)
WORKSPACE_RADIUS = (0.17, 0.39)
OBJECT_SPACING = 0.085  # [m]
PLATE_SPACING = 0.115  # of plate and bowl [m]
MAX_ATTEMPTS = 2000


@dataclass(frozen=True)
class SceneObject:
    """A movable object: `name` is '<colour> <shape>', as in instructions."""

    colour: str
    shape: str

    @property
    def name(self) -> str:
        """The object's name in instructions."""
        return f'{self.colour} {self.shape}'

    @property
    def half_height(self) -> float:
        """Height [m] of the centre above the surface it stands on."""
        return SHAPE_HEIGHTS[self.shape]

    @staticmethod
    def parse(name: str) -> SceneObject:
        """Read '<colour> <shape>'. Raises VLAAdapterError listing the allowed words."""
        words = name.split()
        if len(words) != 2 or words[0] not in COLOURS or words[1] not in SHAPE_HEIGHTS:
            raise VLAAdapterError(
                f'object {name!r} is unknown: expected a colour ({", ".join(COLOURS)}) '
                f'and a shape ({", ".join(SHAPE_HEIGHTS)})'
            )
        return SceneObject(*words)


@dataclass(frozen=True)
class Placement:
    """Where something stands: centre (x, y) [m] in the base frame and yaw [rad]."""

    x: float
    y: float
    yaw: float = 0.0


@dataclass(frozen=True)
class SceneLayout:
    """One arrangement of the table.

    Attributes:
        objects: object → placement, in the order of the names.
        plate: where the plate stands, or None if there is none.
        start_joints: (6,) joint positions [rad] at reset, or None for the ready pose.
        start_gripper: open fraction of the gripper at reset.
        look_seed: of everything that a level draws.
        clutter: body → (x, y) [m] and yaw [rad] of things that are never named.
    """

    objects: Mapping[SceneObject, Placement]
    plate: Placement | None = None
    start_joints: tuple[float, ...] | None = None
    start_gripper: float = 1.0
    look_seed: int = 0
    clutter: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class SceneOptions:
    """Objects on the table at reset, and how much else varies.

    Attributes:
        objects: names of the objects; None draws `object_count` of `shapes` at random.
        object_count: how many objects when `objects` is None.
        shapes: shapes to draw from when `objects` is None.
        plate: whether there is a plate.
        max_yaw: objects are turned by at most this angle [rad].
        level: how much light, cameras, colours, images and servos vary (`levels.ranges`).
    """

    objects: Sequence[str] | None = ('red block', 'green block', 'blue block')
    object_count: int = 3
    shapes: Sequence[str] = ('block',)
    plate: bool = True
    max_yaw: float = 0.35
    level: str = NOMINAL


@dataclass
class PlacementRules:
    """Task-specific rules of placement.

    Attributes:
        clear_points: points (x, y) relative to an object's placement that must be free of other
            things (and inside the workspace): where it will be moved to, or pushed from.
    """

    clear_points: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)


def draw_names(
    rng: np.random.Generator, count: int, shapes: Sequence[str], alike: bool = False
) -> list[str]:
    """Draw `count` different object names of the given shapes, never the same name twice.

    Args:
        rng: draws them.
        count: how many.
        shapes: their shapes.
        alike: as few colours as possible, so that objects differ in shape where they can.

    Raises:
        VLAAdapterError: more objects than the scene has.
    """
    pool = [f'{colour} {shape}' for shape in shapes for colour in COLOURS]
    available = sum(SHAPE_SLOTS[shape] for shape in shapes)
    if not 1 <= count <= available:
        raise VLAAdapterError(f'object_count: got {count}, expected 1 to {available} of {shapes}')
    names: list[str] = []
    order = rng.permutation(len(pool))
    if alike:
        ranks = dict(zip(COLOURS, rng.permutation(len(COLOURS)), strict=True))
        order = sorted(order, key=lambda index: ranks[pool[index].split()[0]])
    for index in order:
        shape = pool[index].split()[1]
        if sum(name.endswith(shape) for name in names) < SHAPE_SLOTS[shape]:
            names.append(pool[index])
        if len(names) == count:
            break
    return [names[i] for i in rng.permutation(count)] if alike else names


def in_workspace(x: float, y: float) -> bool:
    """Return whether the gripper can work straight down at (x, y) [m]."""
    low, high = WORKSPACE_RADIUS
    return (
        WORKSPACE_X[0] <= x <= WORKSPACE_X[1]
        and WORKSPACE_Y[0] <= y <= WORKSPACE_Y[1]
        and low <= math.hypot(x, y) <= high
    )


def sample_layout(
    rng: np.random.Generator, options: SceneOptions, rules: PlacementRules | None = None
) -> SceneLayout:
    """Draw a layout: every object in the workspace, apart from the others, and by the rules.

    Raises:
        VLAAdapterError: the objects do not fit.
    """
    names = options.objects
    if names is None:
        names = draw_names(rng, options.object_count, options.shapes)
    objects = [SceneObject.parse(name) for name in names]
    _check_slots(objects)
    clear = rules.clear_points if rules else {}
    for _ in range(MAX_ATTEMPTS):
        layout = _try_layout(rng, objects, options, clear)
        if layout is not None:
            return layout
    raise VLAAdapterError(f'scene: {len(objects)} objects do not fit on the table; use fewer')


def _check_slots(objects: Sequence[SceneObject]) -> None:
    if len(set(objects)) != len(objects):
        raise VLAAdapterError(f'scene: objects must differ, got {[o.name for o in objects]}')
    for shape, slots in SHAPE_SLOTS.items():
        count = sum(item.shape == shape for item in objects)
        if count > slots:
            raise VLAAdapterError(f'scene: {count} objects of shape {shape}, at most {slots}')


def _try_layout(
    rng: np.random.Generator,
    objects: Sequence[SceneObject],
    options: SceneOptions,
    clear: Mapping[str, Sequence[tuple[float, float]]],
) -> SceneLayout | None:
    """Place things one after another; None when a rule cannot be met this time."""
    taken: list[tuple[float, float, float]] = []
    plate = None
    if options.plate:
        plate = _draw_placement(rng, 0.0)
        if plate is None:
            return None
        taken.append((plate.x, plate.y, PLATE_SPACING))
    placed: dict[SceneObject, Placement] = {}
    reserved: list[tuple[float, float]] = []
    # A bowl and objects with reserved points first: they are the hardest to place.
    for item in sorted(objects, key=lambda o: (o.shape != BOWL, o.name not in clear)):
        placement = _draw_placement(rng, options.max_yaw)
        if placement is None or not _is_free(placement.x, placement.y, taken, reserved):
            return None
        points = [(placement.x + dx, placement.y + dy) for dx, dy in clear.get(item.name, ())]
        if not all(in_workspace(*point) and _is_free(*point, taken, []) for point in points):
            return None
        placed[item] = placement
        spacing = PLATE_SPACING if item.shape == BOWL else OBJECT_SPACING
        taken.append((placement.x, placement.y, spacing))
        reserved.extend(points)
    ordered = {item: placed[item] for item in objects}
    seed = int(rng.integers(2**31))
    free = [(x, y) for x, y, _ in taken] + reserved
    clutter = place_clutter(find_level(options.level), seed, free)
    return SceneLayout(ordered, plate, look_seed=seed, clutter=clutter)


def _draw_placement(rng: np.random.Generator, max_yaw: float) -> Placement | None:
    x, y = rng.uniform(*WORKSPACE_X), rng.uniform(*WORKSPACE_Y)
    yaw = rng.uniform(-max_yaw, max_yaw) if max_yaw else 0.0
    return Placement(float(x), float(y), float(yaw)) if in_workspace(x, y) else None


def _is_free(
    x: float,
    y: float,
    taken: Sequence[tuple[float, float, float]],
    reserved: Sequence[tuple[float, float]],
) -> bool:
    apart = all(math.hypot(x - a, y - b) >= spacing for a, b, spacing in taken)
    return apart and all(math.hypot(x - a, y - b) >= OBJECT_SPACING for a, b in reserved)
