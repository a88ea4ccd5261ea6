# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Starting points for training: a base Prismatic VLM, or the VLM of a checkpoint of either kind.

The base VLM is one `.pt` of nested state dicts: `projector`, `llm_backbone` and, where its towers
were trained, `vision_backbone`. Towers that it does not hold come from files of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.architecture.config import VLM_MODULES, VLAAdapterConfig
from vla_adapter_ros.errors import CheckpointError, readable
from vla_adapter_ros.weights.hub import origin
from vla_adapter_ros.weights.metadata import METADATA_FILE, CheckpointMetadata
from vla_adapter_ros.weights.official import is_official, official_vlm_config, unused_pattern
from vla_adapter_ros.weights.official_weights import official_vlm
from vla_adapter_ros.weights.own import NetworkT, open_checkpoint
from vla_adapter_ros.weights.released import TOWERS as HUB_TOWERS
from vla_adapter_ros.weights.released import base_vlm_file, is_base_vlm, model_folder, tower_file
from vla_adapter_ros.weights.tensors import LazyTensor, load_parameters, open_pt, open_safetensors

TOWERS = {'dino_featurizer': 'featurizer', 'siglip_featurizer': 'fused_featurizer'}
PROJECTOR = {'0': 'fc1', '2': 'fc2', '4': 'fc3'}
_FILM = re.compile(r'vision_backbone\..+\.(scale|shift|films\.\d+)')
# open_clip files hold the tower under this prefix, beside a text encoder.
OPEN_CLIP_PREFIX = 'visual.trunk.'


def load_vlm(
    network: type[NetworkT],
    source: str | Path,
    config: VLAAdapterConfig | None = None,
    *,
    vision_weights: Mapping[str, str | Path] | None = None,
    dtype: torch.dtype | None = torch.float32,
    device: str | torch.device = 'cpu',
) -> NetworkT:
    """Take the VLM from `source`; initialise new ActionQueries, a new policy and FiLM layers.

    A VLM without FiLM gets its layers as in the official code: torch's default initialisation.

    Args:
        network: the class to build, `VLAAdapter`.
        source: a base VLM's `.pt`, its directory (`checkpoints/*.pt` inside), or a checkpoint
            directory of ours or of the official kind, whose policy is left out; or on the Hub.
        config: the network to build; default: the released size, or the source's own.
        vision_weights: `featurizer` and `fused_featurizer` -> weights of a tower in timm's names,
            a file, folder or address; where a base VLM does not hold its towers, the default is
            timm's on the Hub.
        dtype: of the parameters.
        device: of the parameters.

    Raises:
        CheckpointError: the source is missing or does not fit; all differences are listed.
    """
    source = model_folder(source)
    tensors, metadata = _vlm_tensors(source)
    config = config or metadata.config
    given = _default_towers(tensors, config) | dict(vision_weights or {})
    towers = {key: tower_file(path) for key, path in given.items()}
    for key, file in towers.items():
        tensors |= tower_tensors(file, key, config)
    unused = unused_pattern(config)
    tensors = {
        name: lazy
        for name, lazy in tensors.items()
        if name.split('.', 1)[0] in VLM_MODULES and not unused.fullmatch(name)
    }
    for key in config.towers:
        if not any(name.startswith(f'vision_backbone.{key}.') for name in tensors):
            raise CheckpointError(
                f'{source}: holds no vision tower {key!r}; give its weights with '
                f"vision_weights={{'{key}': 'FILE'}} (timm names, .safetensors or .pt)"
            )
    model = network.from_config(config, device='meta')
    film = film_layers(model)
    load_parameters(
        model,
        tensors,
        dtype=dtype,
        device=device,
        where=str(source),
        newly_initialised=('policy.', 'action_queries.', *(f'{name}.' for name in film)),
    )
    for layer in map(model.get_submodule, film):
        if layer.weight.is_meta:
            layer.to_empty(device=device).to(dtype).reset_parameters()
    model.initialise_policy(device)
    model.metadata = CheckpointMetadata(
        config=config,
        source={
            'format': metadata.source.get('format'),
            'path': origin(source),
            'towers': {key: origin(file) for key, file in towers.items()},
        },
    )
    return model.eval()


def _default_towers(
    tensors: Mapping[str, LazyTensor], config: VLAAdapterConfig
) -> dict[str, str | Path]:
    """Return where the towers lie that a VLM does not hold, as far as this is known."""
    return {
        key: HUB_TOWERS[tower.name]
        for key, tower in config.towers.items()
        if tower.name in HUB_TOWERS
        and not any(name.startswith(f'vision_backbone.{key}.') for name in tensors)
    }


def film_layers(model: nn.Module) -> list[str]:
    """Return the names of the linear layers by which the instruction conditions the towers."""
    return [name for name, _ in model.named_modules() if _FILM.fullmatch(name)]


def _vlm_tensors(source: Path) -> tuple[dict[str, LazyTensor], CheckpointMetadata]:
    if is_base_vlm(source):
        found = base_vlm_file(map(str, source.glob('checkpoints/*.pt')))
        if found is None:
            raise CheckpointError(
                f'{source}: no base VLM; expected checkpoints/*.pt, or config.json with '
                'model*.safetensors'
            )
        source = Path(found)
    if is_official(source) and not (source / METADATA_FILE).is_file():
        metadata = CheckpointMetadata(official_vlm_config(source), source={'format': 'official'})
        return official_vlm(source), metadata
    if source.is_dir():
        opened = open_checkpoint(source)
        return opened.tensors, opened.metadata
    if not source.is_file():
        raise CheckpointError(f'{source}: no such file or directory')
    metadata = CheckpointMetadata(VLAAdapterConfig.full(), source={'format': 'prismatic'})
    with readable(source, CheckpointError):
        return prismatic_tensors(open_pt(source), source), metadata


def prismatic_tensors(content: Mapping[str, Any], where: Path) -> dict[str, LazyTensor]:
    """Map a base VLM's nested state dicts to our names."""
    nested = content.get('model')
    if (
        not isinstance(nested, Mapping)
        or 'llm_backbone' not in nested
        or 'projector' not in nested
    ):
        keys = sorted(nested) if isinstance(nested, Mapping) else sorted(content)
        raise CheckpointError(
            f'{where}: not a base VLM, expected model.projector and model.llm_backbone, got {keys}'
        )
    tensors: dict[str, LazyTensor] = {}
    for name, value in nested['projector'].items():
        parts = name.removeprefix('projector.').split('.')
        key = f'projector.{PROJECTOR.get(parts[0], parts[0])}.{parts[1]}'
        tensors[key] = LazyTensor.of(value, f'{where}: {name}')
    for name, value in nested['llm_backbone'].items():
        key = f'language_model.{name.removeprefix("llm.")}'
        tensors[key] = LazyTensor.of(value, f'{where}: {name}')
    for name, value in (nested.get('vision_backbone') or {}).items():
        tower, _, rest = name.partition('.')
        key = f'vision_backbone.{TOWERS.get(tower, tower)}.{layer_scale_name(rest)}'
        tensors[key] = LazyTensor.of(value, f'{where}: {name}')
    return tensors


def layer_scale_name(name: str) -> str:
    """Rename timm's LayerScale parameter `gamma` to the `scale_factor` of released checkpoints."""
    return re.sub(r'(\.ls[12])\.gamma$', r'\1.scale_factor', name)


def tower_tensors(path: Path, key: str, config: VLAAdapterConfig) -> dict[str, LazyTensor]:
    """Read one tower's weights in timm's names; positions of another image size are resampled.

    The file may be one of open_clip, which holds a text encoder too.
    """
    if path.suffix == '.safetensors':
        tensors = open_safetensors(path)
    else:
        with readable(path, CheckpointError):
            content = open_pt(path)
            tensors = {n: LazyTensor.of(value, f'{path}: {n}') for n, value in content.items()}
    if any(name.startswith(OPEN_CLIP_PREFIX) for name in tensors):
        tensors = {
            name.removeprefix(OPEN_CLIP_PREFIX): lazy
            for name, lazy in tensors.items()
            if name.startswith(OPEN_CLIP_PREFIX)
        }
    tower = config.towers[key]
    kept = {layer_scale_name(n): lazy for n, lazy in tensors.items() if not n.startswith('head.')}
    positions = kept.get('pos_embed')
    if positions is not None and positions.shape[1] != tower.grid**2:
        resampled = resample_positions(positions.read(None), tower.grid)
        kept['pos_embed'] = LazyTensor.of(resampled, positions.source)
    return {f'vision_backbone.{key}.{name}': lazy for name, lazy in kept.items()}


def resample_positions(positions: Tensor, grid: int) -> Tensor:
    """Resample positions (1, old², width) for another grid: bicubic, antialiased, as in timm."""
    old = round(positions.shape[1] ** 0.5)
    if old * old != positions.shape[1]:
        raise CheckpointError(f'pos_embed: {positions.shape[1]} positions form no square grid')
    image = positions.float().mT.unflatten(-1, (old, old))
    image = F.interpolate(image, (grid, grid), mode='bicubic', antialias=True)
    return image.flatten(2).mT.to(positions.dtype).contiguous()
