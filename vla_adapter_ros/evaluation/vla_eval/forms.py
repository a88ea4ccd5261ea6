# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Between the benchmarks of vla-eval and a policy: observations and commands, without vla-eval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.suites.policies import CAMERAS, Benchmark
from vla_adapter_ros.plain_yaml import parse_yaml
from vla_adapter_ros.processing.grippers import calvin_commands, libero_commands
from vla_adapter_ros.processing.observation import Observation

FILE = Path(__file__).with_name('benchmarks.yaml')
STATE = 'states'  # name of the arm's state beside the images
GRIPPERS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    'close_positive': libero_commands,
    'open_positive': calvin_commands,
    'open_fraction': partial(np.array, dtype=np.float64),
}


@dataclass(frozen=True)
class Form:
    """What a benchmark of vla-eval sends and takes; `benchmarks.yaml` says what each means.

    Attributes:
        name: of the benchmark.
        views: names of its images in the order of `CAMERAS`.
        state: how many numbers its state has.
        params: that its class is asked for.
        wrist_params: that it is asked for beside, for policies with a wrist camera.
        motion: factors of translation and rotation.
        axis_angle: whether rotations become rotation vectors.
        gripper: key of `GRIPPERS`.
        specs: names in `vla_eval.specs`.
        differs: from the official evaluation, in words.
    """

    name: str
    views: tuple[str, ...]
    state: int
    params: Mapping[str, Any]
    wrist_params: Mapping[str, Any]
    motion: tuple[float, float]
    axis_angle: bool
    gripper: str
    specs: tuple[str, str, str]
    differs: str

    def benchmark(self) -> Benchmark:
        """Return what turns its observations and a policy's chunks."""
        return Benchmark(
            f'vla-eval {self.name}', self.observation, self.commands,
            tuple(self.commands(np.array([[0.0] * 6 + [1.0]]))[0].tolist()), self.state,
            CAMERAS[: len(self.views)],
        )  # fmt: skip

    def observation(self, arrays: Mapping[str, np.ndarray], instruction: str) -> Observation:
        """Return the policy's observation of the images and the state."""
        images = {
            camera: arrays[view]
            for camera, view in zip(CAMERAS, self.views, strict=False)
            if view in arrays
        }
        return Observation(images, arrays[STATE], instruction, 0.0)

    def commands(self, actions: np.ndarray) -> np.ndarray:
        """Return what the benchmark is sent (K, 7) for a chunk (K, 7) in a policy's units."""
        commands = GRIPPERS[self.gripper](actions)
        commands[:, :3] *= self.motion[0]
        commands[:, 3:6] *= self.motion[1]
        if self.axis_angle:
            commands[:, 3:6] = [rotation_vector(*angles) for angles in commands[:, 3:6]]
        return commands

    def arrays_of(self, sent: Mapping[str, Any], cameras: int) -> dict[str, np.ndarray]:
        """Return the images and the state of an observation of vla-eval.

        Args:
            sent: the observation.
            cameras: how many of the views the policy sees.

        Raises:
            VLAAdapterError: something is missing, or has another form.
        """
        images = sent.get('images') or {}
        arrays = {}
        for view in self.views[:cameras]:
            image = np.asarray(images.get(view))
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise VLAAdapterError(
                    f'observation: no RGB image {view!r}; it has {sorted(images)}, {self.name} '
                    f'needs {list(self.views[:cameras])}: is it the benchmark of --benchmark?'
                )
            arrays[view] = image
        # Its own smoke test says `state`.
        state = np.asarray(sent.get(STATE, sent.get('state', ())), np.float64)
        if state.shape != (self.state,):
            raise VLAAdapterError(
                f'observation: a state of shape {state.shape}, {self.name} has '
                f'{self.state} numbers'
            )
        return {**arrays, STATE: state}


@cache
def forms() -> dict[str, Form]:
    """Return the benchmarks that a policy can be served to, by name."""
    return {
        name: Form(
            name, tuple(form['views']), form['state'], form['params'],
            form.get('wrist_params', {}), tuple(form.get('motion', (1.0, 1.0))),
            form.get('rotation', 'euler') == 'axis_angle', form['gripper'], tuple(form['specs']),
            form['differs'],
        )
        for name, form in parse_yaml(FILE.read_text(encoding='utf-8')).items()
    }  # fmt: skip


def form_of(name: str) -> Form:
    """Return the form of a benchmark.

    Raises:
        VLAAdapterError: there is none of that name.
    """
    if name not in forms():
        raise VLAAdapterError(f'benchmark {name!r}: expected one of {", ".join(forms())}')
    return forms()[name]


def rotation_vector(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """Return the rotation vector (3,) [rad] of turns about the fixed axes x, then y, then z."""
    (a, x), (b, y), (c, z) = (
        (math.cos(angle / 2), math.sin(angle / 2)) for angle in (roll, pitch, yaw)
    )
    w = a * b * c + x * y * z
    vector = np.array([x * b * c - a * y * z, a * y * c + x * b * z, a * b * z - x * y * c])
    length = float(np.linalg.norm(vector))
    if length < 1e-12:  # the limit for small angles
        return 2.0 * vector
    return vector / length * 2.0 * math.atan2(length, w)
