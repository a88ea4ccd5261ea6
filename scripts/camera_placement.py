# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Draw where the two cameras of the simulated bench stand and what each of them sees.

The guide's image: `python -m scripts.camera_placement docs/images/camera_placement.png`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.processing.captions import caption_strip

_SIZE = (480, 640)  # height, width [px]
_ASPECT = _SIZE[1] / _SIZE[0]
# How far the drawn edges of a field of view reach [m].
_REACH = {'third_person': 1.3, 'wrist': 0.3}
_COLOURS = {'third_person': (0.95, 0.45, 0.1, 1.0), 'wrist': (0.1, 0.45, 0.95, 1.0)}


def camera_facts(simulation: Any, name: str) -> dict[str, float]:
    """Return a camera's position [m], distances and angles as a person would set them up.

    Args:
        simulation: `ArmSimulation`.
        name: camera.
    """
    import mujoco

    mujoco.mj_forward(simulation.model, simulation.data)
    position, axes, field = _pose(simulation, name)
    view = -axes[:, 2]
    to_table = -position[2] / view[2]
    return {
        'x': float(position[0]), 'y': float(position[1]), 'height': float(position[2]),
        'down': float(np.degrees(np.arcsin(-view[2]))),
        'vertical_field': field,
        'horizontal_field': float(
            np.degrees(2 * np.arctan(_ASPECT * np.tan(np.radians(field / 2))))
        ),
        'distance': float(to_table),
        'looks_at_x': float(position[0] + to_table * view[0]),
        'looks_at_y': float(position[1] + to_table * view[1]),
    }


def placement_image() -> tuple[np.ndarray, dict[str, dict[str, float]]]:
    """Return overview and both cameras' views as one RGB uint8 image, and each one's facts."""
    from vla_adapter_ros.simulation.arm_simulation import ArmSimulation

    simulation = ArmSimulation()
    try:
        facts = {name: camera_facts(simulation, name) for name in simulation.camera_names}
        views = [
            _labelled(simulation.render(name, *_SIZE), _caption(name, facts[name]))
            for name in simulation.camera_names
        ]
        # After the cameras' own views: the two renderers cannot have the context simultaneously.
        simulation.close()
        overview = _labelled(_overview(simulation), 'the bench, with both fields of view')
        return np.vstack([overview, np.hstack(views)]), facts
    finally:
        simulation.close()


def _caption(name: str, facts: dict[str, float]) -> str:
    place = (
        f'{facts["height"] * 100:.0f} cm high, {facts["down"]:.0f} deg down, '
        f'{facts["distance"] * 100:.0f} cm to the table'
    )
    return f'{name}: {place}'


def _pose(simulation: Any, name: str) -> tuple[np.ndarray, np.ndarray, float]:
    camera = simulation.model.camera(name).id
    axes = simulation.data.cam_xmat[camera].reshape(3, 3)
    return simulation.data.cam_xpos[camera], axes, float(simulation.model.cam_fovy[camera])


def _overview(simulation: Any) -> np.ndarray:
    import mujoco

    from vla_adapter_ros.simulation.rendering import create_context

    height, width = _SIZE[0] + 160, 2 * _SIZE[1]
    context, gpu = create_context(simulation.model)
    try:
        scene = mujoco.MjvScene(simulation.model, maxgeom=600)
        camera = mujoco.MjvCamera()
        camera.type = mujoco.mjtCamera.mjCAMERA_FREE
        camera.lookat[:] = (0.33, -0.02, 0.16)
        camera.distance, camera.azimuth, camera.elevation = 1.25, 118.0, -22.0
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, gpu)
        mujoco.mjv_updateScene(
            simulation.model, simulation.data, mujoco.MjvOption(), None, camera,
            mujoco.mjtCatBit.mjCAT_ALL, scene,
        )
        for name in simulation.camera_names:
            _draw_field(scene, *_pose(simulation, name), _REACH[name], _COLOURS[name])
        height, width = min(height, gpu.offHeight), min(width, gpu.offWidth)
        view = mujoco.MjrRect(0, 0, width, height)
        image = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_render(view, scene, gpu)
        mujoco.mjr_readPixels(image, None, view, gpu)
    finally:
        gpu.free()
        context.free()
    image = image[::-1]
    full = (2 * _SIZE[1], round(image.shape[0] * 2 * _SIZE[1] / image.shape[1]))
    return cv2.resize(image, full, interpolation=cv2.INTER_CUBIC)


def _draw_field(
    scene: Any, position: np.ndarray, axes: np.ndarray, field: float, reach: float,
    colour: tuple[float, ...],
) -> None:
    """Add a camera body and the edges of its field of view to a scene."""
    half = np.tan(np.radians(field / 2))
    corners = []
    for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        ray = axes @ np.array([sx * half * _ASPECT, sy * half, -1.0])
        # To the table where it is hit; a ray above the horizon ends in the air.
        length = -(position[2] - 0.004) / ray[2] if ray[2] < 0 else np.inf
        corners.append(position + min(length, reach) * ray)
    for i, corner in enumerate(corners):
        _connect(scene, position, corner, colour)
        _connect(scene, corner, corners[(i + 1) % 4], colour)


def _connect(scene: Any, start: np.ndarray, end: np.ndarray, colour: tuple[float, ...]) -> None:
    import mujoco

    geom = scene.geoms[scene.ngeom]
    mujoco.mjv_initGeom(
        geom, mujoco.mjtGeom.mjGEOM_CAPSULE, np.zeros(3), np.zeros(3), np.zeros(9),
        np.array(colour, np.float32),
    )
    mujoco.mjv_connector(geom, mujoco.mjtGeom.mjGEOM_CAPSULE, 0.003, start, end)
    scene.ngeom += 1


def _labelled(image: np.ndarray, text: str) -> np.ndarray:
    return np.vstack([caption_strip(text, image.shape[1], height=34), image])


def main(words: Sequence[str] | None = None) -> int:
    """Write the image and print the placement; return the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m scripts.camera_placement', description=__doc__.splitlines()[0]
    )
    parser.add_argument('out', type=Path, help='PNG file to write')
    arguments = parser.parse_args(words)
    try:
        image, facts = placement_image()
    except VLAAdapterError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    cv2.imwrite(str(arguments.out), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    for name, values in facts.items():
        print(_caption(name, values))
    print(f'wrote {arguments.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
