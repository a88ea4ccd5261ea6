# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Between lerobot's features and a policy's observations and actions. Without lerobot.

lerobot hands images over upright, as its datasets hold them: (B, 3, H, W) float32 in [0, 1].
States and actions are in contract units: joints [rad], then the gripper's open fraction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vla_adapter_ros.errors import ObservationError, VLAAdapterError
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.processing.grippers import calvin_commands, libero_commands
from vla_adapter_ros.processing.images import as_camera
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.action_space import ActionConverter
from vla_adapter_ros.robot.camera_view import crop_to_view
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.kinematics import Kinematics

STATE, ACTION, IMAGES, TASK = 'observation.state', 'action', 'observation.images.', 'task'
# How the gripper of a released checkpoint becomes a command of a benchmark's simulator.
GRIPPERS = {'open_fraction': None, 'libero': libero_commands, 'calvin': calvin_commands}
TRAINING = (
    'lerobot does not train this policy; `python -m vla_adapter_ros.training.train` does, '
    'and reads LeRobot datasets (docs/lerobot.md)'
)


class PluginError(VLAAdapterError):
    """A checkpoint cannot serve as a policy of lerobot; the message says why in one line."""


@dataclass(frozen=True)
class Settings:
    """What the user says of the other side.

    Attributes:
        cameras: camera of the policy → feature; those not named are `observation.images.<camera>`.
        gripper: a key of `GRIPPERS`; only checkpoints without a robot contract have a choice.
    """

    cameras: Mapping[str, str] = field(default_factory=dict)
    gripper: str = 'open_fraction'


class Features:
    """The features of one policy, and its observations and actions in terms of them.

    Args:
        policy: the checkpoint.
        settings: of the other side.

    Attributes:
        cameras: camera → feature, in the policy's order.

    Raises:
        PluginError: the settings do not fit the policy.
    """

    def __init__(self, policy: Policy, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        names = policy.pipeline.config.cameras
        if unknown := sorted(set(settings.cameras) - set(names)):
            raise PluginError(f'cameras: got {unknown[0]!r}, the policy has {list(names)}')
        if settings.gripper not in GRIPPERS:
            raise PluginError(
                f'gripper: got {settings.gripper!r}, expected one of {list(GRIPPERS)}'
            )
        if policy.contract is not None and settings.gripper != 'open_fraction':
            raise PluginError(
                f'gripper: got {settings.gripper!r}, but the checkpoint has a robot contract, '
                'whose gripper is an open fraction'
            )
        self.cameras = {name: settings.cameras.get(name, IMAGES + name) for name in names}
        self._policy = policy
        self._gripper = GRIPPERS[settings.gripper]
        self._converter = None if policy.contract is None else converter(policy.contract)

    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Return feature → shape of what the policy sees; images as (3, H, W)."""
        shapes: dict[str, tuple[int, ...]] = {
            feature: (3, *self._upright_size(camera)) for camera, feature in self.cameras.items()
        }
        return shapes | {STATE: (self._policy.pipeline.proprio.size,)}

    def action_names(self) -> tuple[str, ...]:
        """Return the names of the actions, of which there are A."""
        contract = self._policy.contract
        if contract is not None:
            return contract.names
        return tuple(map(str, range(self._policy.engine.model.config.action_dim)))

    def observations(self, batch: Mapping[str, Any]) -> list[Observation]:
        """Return the observations of a batch of B.

        Args:
            batch: images (B, 3, H, W) float32 in [0, 1] or uint8, `observation.state` (B, P), and
                `task`: a text, or B of them.

        Raises:
            ObservationError: a feature is missing or of another shape, size or range.
        """
        states = self._states(batch)
        tasks = _tasks(batch.get(TASK), len(states))
        images = {
            camera: self._images(camera, _get(batch, feature), len(states))
            for camera, feature in self.cameras.items()
        }
        return [
            Observation({name: views[n] for name, views in images.items()}, state, tasks[n], 0.0)
            for n, state in enumerate(states)
        ]

    def actions(self, batch: Mapping[str, Any]) -> np.ndarray:
        """Return the chunks (B, K, A) float64 of a batch.

        With a robot contract these are absolute joint targets within its limits, whatever the
        network's action space is. Without one they are the network's, with the gripper that the
        settings say.

        Raises:
            ObservationError: as `observations`.
            MotionError: an end-effector motion has no joint solution.
        """
        observations = self.observations(batch)
        chunks = [chunk.actions for chunk in self._policy.predict_many(observations)]
        contract = self._policy.contract
        if contract is not None and self._converter is not None:
            pairs = zip(chunks, observations, strict=True)
            targets = [self._converter.to_targets(c, o.proprioception) for c, o in pairs]
            return np.clip(np.stack(targets), contract.lower, contract.upper)
        actions = np.stack(chunks)
        return actions if self._gripper is None else self._gripper(actions)

    def _upright_size(self, camera: str) -> tuple[int, int]:
        """(height, width) [px] of what the policy sees of a camera, upright."""
        contract, size = self._policy.contract, self._policy.pipeline.config.images.size
        if contract is None or camera not in contract.cameras:
            return size, size
        width, height = contract.cameras[camera].seen_size
        return (width, height) if self._rotation(camera) % 180 else (height, width)

    def _rotation(self, camera: str) -> int:
        config = self._policy.pipeline.config
        return config.rotations.get(camera, config.images.rotate)

    def _states(self, batch: Mapping[str, Any]) -> np.ndarray:
        states = _numbers(_get(batch, STATE), STATE)
        size = self._policy.pipeline.proprio.size
        if states.ndim != 2 or states.shape[1] != size:
            raise ObservationError(f'{STATE}: got shape {states.shape}, expected (B, {size})')
        return states

    def _images(self, camera: str, values: Any, count: int) -> list[np.ndarray]:
        feature = self.cameras[camera]
        images = _pixels(values, feature)
        if len(images) != count:
            raise ObservationError(f'{feature}: got {len(images)} images, expected {count}')
        return [self._as_policy_sees(camera, image) for image in images]

    def _as_policy_sees(self, camera: str, upright: np.ndarray) -> np.ndarray:
        """Return an image in the camera's orientation, which the pipeline turns upright again."""
        image = as_camera(upright, self._rotation(camera))
        contract, side = self._policy.contract, self._policy.pipeline.config.images.size
        if contract is None or camera not in contract.cameras:
            return image
        spec = contract.cameras[camera]
        height, width = image.shape[:2]
        # Datasets may hold the resized view that the network sees.
        if (width, height) in (spec.seen_size, (side, side)):
            return image
        try:
            return crop_to_view(image, spec)
        except ObservationError as error:
            raise ObservationError(f'{self.cameras[camera]}: {error}') from None


def converter(contract: RobotContract) -> ActionConverter:
    """Return what turns the actions of a contract into absolute joint targets."""
    needed = contract.action_space == 'ee_delta'
    return ActionConverter(contract, Kinematics.of(contract, None) if needed else None)


def _get(batch: Mapping[str, Any], feature: str) -> Any:
    if feature not in batch:
        found = sorted(name for name in batch if name.startswith('observation.'))
        raise ObservationError(f'{feature}: missing; the batch has {found}')
    return batch[feature]


def _numbers(values: Any, feature: str) -> np.ndarray:
    """Return finite values as float64."""
    array = _array(values).astype(np.float64)
    if not np.isfinite(array).all():
        raise ObservationError(f'{feature}: got NaN or infinity')
    return array


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _pixels(values: Any, feature: str) -> np.ndarray:
    """Return (B, H, W, 3) uint8 of (B, 3, H, W) uint8, or of float in [0, 1]."""
    array = _array(values)
    if array.ndim != 4 or array.shape[1] != 3:
        raise ObservationError(f'{feature}: got shape {array.shape}, expected (B, 3, H, W)')
    if array.dtype != np.uint8:
        values = _numbers(array, feature)
        if array.size and (values.min() < 0 or values.max() > 1):
            raise ObservationError(
                f'{feature}: got values from {values.min():.3g} to {values.max():.3g}, expected '
                '0 to 1: images are not normalised for this policy'
            )
        array = np.round(values * 255).astype(np.uint8)
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


def _tasks(value: Any, count: int) -> Sequence[str]:
    """Return the instruction of each observation."""
    tasks = [value] * count if isinstance(value, str) else list(value or ())
    if len(tasks) == 1:
        tasks *= count
    texts = [task.strip() if isinstance(task, str) else '' for task in tasks]
    if len(texts) != count or not all(texts):
        raise ObservationError(
            f'{TASK}: got {value!r}, expected an instruction for each of {count} observations'
        )
    return texts


def action_queue(actions: np.ndarray, steps: int) -> list[Tensor]:
    """Return the first `steps` actions of chunks (B, K, A), each (B, A) float32."""
    return list(torch.from_numpy(actions[:, :steps].swapaxes(0, 1).astype(np.float32)))
