# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint as a policy of lerobot: its evaluation, recording and rollout run it.

The network, preprocessing and statistics are those of `inference.policy.Policy`.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, NoReturn

import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.lerobot_policy.configuration_vla_adapter import VlaAdapterConfig
from vla_adapter_ros.lerobot_policy.export import CHECKPOINT_FILES
from vla_adapter_ros.lerobot_policy.features import (
    ACTION,
    TRAINING,
    Features,
    PluginError,
    Settings,
    action_queue,
)
from vla_adapter_ros.model.convert import copy_present
from vla_adapter_ros.weights.released import model_folder


class VlaAdapterPolicy(PreTrainedPolicy):
    """Runs a checkpoint in lerobot's evaluation, recording and rollout.

    Args:
        config: from the checkpoint's `config.json`; its device is used.
        folder: the checkpoint; None: that of `config.pretrained_path`.
        others: what lerobot passes to every policy; not used.

    Raises:
        PluginError: no checkpoint is named, or the configuration does not fit it.
        CheckpointError: missing, damaged or inconsistent files.
    """

    config_class = VlaAdapterConfig
    name = 'vla_adapter'

    def __init__(
        self, config: VlaAdapterConfig, folder: str | Path | None = None, **others: Any
    ) -> None:
        super().__init__(config)
        path = folder or config.pretrained_path
        if path is None:
            raise PluginError(f'no checkpoint is named (--policy.path); {TRAINING}')
        config.validate_features()
        self.folder = model_folder(path)
        self.policy = Policy.from_pretrained(
            self.folder,
            device=config.device or 'auto',
            dtype=config.dtype,
            threads=config.threads,
            statistics_key=config.statistics_key,
        )
        self.features = Features(self.policy, Settings(config.cameras, config.gripper))
        _check(config, self.features, self.policy)
        self.model = self.policy.engine.model
        self.reset()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_name_or_path: str | Path,
        *,
        config: PreTrainedConfig | None = None,
        revision: str | None = None,
        **others: Any,
    ) -> VlaAdapterPolicy:
        """Load a directory of `lerobot_policy.export`, or one on the Hub.

        Raises:
            PluginError: `config.json` is not of this policy.
            CheckpointError: missing, damaged or inconsistent files.
        """
        folder = model_folder(pretrained_name_or_path, revision=revision)
        config = config or PreTrainedConfig.from_pretrained(folder)
        if not isinstance(config, VlaAdapterConfig):
            raise PluginError(f'{folder}/config.json: type {config.type!r}, expected vla_adapter')
        return cls(config, folder).eval()

    def reset(self) -> None:
        """Forget the chunk in use: a new episode begins."""
        self._action_queue: deque[Tensor] = deque()

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Any], **others: Any) -> Tensor:
        """Return the chunks (B, K, A) float32 of a batch; see `Features.actions`."""
        return torch.from_numpy(self.features.actions(batch)).float()

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **others: Any) -> Tensor:
        """Return the next action (B, A) float32; computes a chunk where the last is used up."""
        if not self._action_queue:
            actions = self.features.actions(batch)
            self._action_queue.extend(action_queue(actions, self.config.n_action_steps))
        return self._action_queue.popleft()

    def get_optim_params(self) -> NoReturn:
        """Raise PluginError: lerobot does not train this policy."""
        raise PluginError(TRAINING)

    def forward(self, batch: dict[str, Tensor]) -> NoReturn:
        """Raise PluginError: lerobot does not train this policy."""
        raise PluginError(TRAINING)

    def _save_pretrained(self, save_directory: Path, **others: Any) -> None:
        """Write the configuration, and the checkpoint's files as they are."""
        self.config._save_pretrained(save_directory)
        copy_present(self.folder, save_directory, CHECKPOINT_FILES)


def _check(config: VlaAdapterConfig, features: Features, policy: Policy) -> None:
    """Compare what lerobot's environment, robot or dataset has with the checkpoint."""
    if config.chunk_size != policy.chunk_size:
        raise PluginError(
            f'chunk_size: got {config.chunk_size}, the checkpoint has {policy.chunk_size}'
        )
    missing = set(features.inputs()) - set(config.input_features or {})
    if missing:
        raise PluginError(
            f'input_features: no {sorted(missing)}; got {sorted(config.input_features or {})}'
        )
    own = features.action_names()
    stated = (config.output_features or {}).get(ACTION)
    if stated is not None and tuple(stated.shape) != (len(own),):
        raise PluginError(
            f'action: the environment or dataset has shape {tuple(stated.shape)}, the '
            f'checkpoint ({len(own)},): {list(own)}'
        )
    # Set by lerobot from the dataset that is recorded; the names of its robots end in `.pos`.
    names = [str(n).removesuffix('.pos') for n in getattr(config, 'action_feature_names', [])]
    if names and sorted(names) == sorted(own) and tuple(names) != own:
        raise PluginError(f'action: the order is {names}, the checkpoint has {list(own)}')
