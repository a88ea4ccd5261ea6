# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The configuration of our policy in lerobot: `config.json` beside a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

from lerobot.configs.policies import PreTrainedConfig

from vla_adapter_ros.lerobot_policy.features import TRAINING, PluginError


@PreTrainedConfig.register_subclass('vla_adapter')
@dataclass
class VlaAdapterConfig(PreTrainedConfig):
    """What lerobot must know of a checkpoint; all else is in its `vla_adapter.json`.

    Attributes:
        chunk_size: actions in a chunk, K.
        n_action_steps: of them executed before the next is computed.
        fps: rate [1/s] at which the actions must be executed.
        cameras: camera of the policy → feature of lerobot.
        gripper: see `features.GRIPPERS`.
        statistics_key: which statistics, if the checkpoint holds several.
        dtype: precision, see `inference.engine.EngineSettings`.
        threads: CPU threads; 0: all cores but one.
        discover_packages_path: not used. Beside `--policy.path` lerobot hands its own option
            `--policy.discover_packages_path` on to the policy's configuration.
    """

    chunk_size: int = 8
    n_action_steps: int = 8
    fps: float = 10.0
    cameras: dict[str, str] = field(default_factory=dict)
    gripper: str = 'open_fraction'
    statistics_key: str | None = None
    dtype: str = 'auto'
    threads: int = 0
    discover_packages_path: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.n_action_steps <= self.chunk_size:
            raise PluginError(
                f'n_action_steps: got {self.n_action_steps}, expected 1 to {self.chunk_size} '
                '(chunk_size)'
            )

    @property
    def observation_delta_indices(self) -> None:
        """Only the newest observation is used."""
        return None

    @property
    def action_delta_indices(self) -> list[int]:
        """The actions of a chunk."""
        return list(range(self.chunk_size))

    @property
    def reward_delta_indices(self) -> None:
        """No rewards are used."""
        return None

    def validate_features(self) -> None:
        """Check that there are cameras and a state.

        Raises:
            PluginError: there are not.
        """
        if not self.image_features or self.robot_state_feature is None:
            raise PluginError(
                f'input_features: got {sorted(self.input_features or {})}, expected images and '
                'observation.state'
            )

    def get_optimizer_preset(self) -> NoReturn:
        """Raise PluginError: lerobot does not train this policy."""
        raise PluginError(TRAINING)

    def get_scheduler_preset(self) -> NoReturn:
        """Raise PluginError: lerobot does not train this policy."""
        raise PluginError(TRAINING)
