# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
# ruff: noqa: RUF009 (option() and section() return dataclass fields; they must be called here)
"""Every setting of a training run, typed, with its meaning; recipes lie in config/train/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.robot.contract import config_folders
from vla_adapter_ros.training.config_loader import (
    apply_overrides,
    build,
    merged,
    option,
    read_yaml,
    section,
)
from vla_adapter_ros.weights.released import BASE_VLM

SUBWORDS = 'subwords'


@dataclass(frozen=True)
class StartConfig:
    """Source of the initial weights."""

    kind: Literal['random', 'base', 'official', 'checkpoint'] = option(
        'random',
        'random; base (a Prismatic VLM, no policy); official (a released VLA-Adapter folder); '
        'checkpoint (of this trainer)',
    )
    path: str | None = option(
        None, 'folder of the weights, or org/name@revision on the Hub; needed unless kind is '
        f'random; base without it: {BASE_VLM}'
    )
    vision_weights: dict[str, str] = option(
        {}, 'base: files of the towers (featurizer, fused_featurizer; timm names) where the base '
        "VLM does not contain them; none: timm's on the Hub",
    )
    grounded: str | None = option(
        None, 'random: folder of experiments.grounding.pretrain; encoders, word embeddings and '
        'tokenizer are taken from it',
    )

    @property
    def source(self) -> str | None:
        """Where the weights lie; None: nowhere, they are random."""
        if self.kind == 'random':
            return None
        return self.path or BASE_VLM


@dataclass(frozen=True)
class AdaptationConfig:
    """Which parameters train. The policy and the ActionQueries always do."""

    mode: Literal['frozen', 'lora', 'full'] = option('lora', 'how the backbone trains')
    rank: int = option(64, 'LoRA rank (paper: 64)')
    alpha: int | None = option(None, 'LoRA alpha; none: twice the rank, as the official code')
    dropout: float = option(0.0, 'LoRA dropout')


@dataclass(frozen=True)
class DataConfig:
    """Datasets and loading."""

    datasets: list[str] = option(
        [], 'dataset folders or hub:org/name@revision, all of one robot contract'
    )
    weights: list[float] = option(
        [], 'how often a frame of each dataset is drawn, relative to the others; none: equally'
    )
    contract: str | None = option(
        None, 'robot contract (name or path) the datasets must agree with; none: their own'
    )
    action_space: Literal['joint_position', 'joint_delta', 'ee_delta'] | None = option(
        None, 'meaning of an action; none: as in the contract'
    )
    actions: Literal['joint_target', 'joint_delta', 'ee_delta', 'per_step'] | None = option(
        None, "LeRobot data of other tools: what their actions are, see docs/training.md; none: "
        'joint targets if our converter wrote them, else not known'
    )
    state: str = option('observation.state', 'LeRobot data: feature of the proprioception')
    action: str = option('action', 'LeRobot data: feature of the actions')
    cameras: dict[str, str] = option(
        {}, 'LeRobot data: camera name → feature, e.g. {wrist: observation.images.hand}; none: all'
    )
    complete_chunks: bool | None = option(
        None, 'leave out frames whose chunk would run past the end of their episode (the official '
        'code does); none: only where the last action cannot be held (motions per step, commands);'
        ' false: such frames train up to the end'
    )
    only_successes: bool = option(
        False, 'leave out episodes that are not marked as successful when they were recorded'
    )
    validation_fraction: float = option(0.05, 'fraction of the episodes held out')
    cache: str | None = option(None, 'folder of the training cache; none: that of the user')
    workers: int = option(4, 'loader threads per training process; 0 loads in the loop')
    prefetch: int = option(4, 'batches each loader thread prepares ahead')
    instruction_pattern: str = option(
        '', 'regular expression: train on the episodes whose instruction matches (a curriculum); '
        'statistics and vocabulary stay those of all episodes'
    )
    augment: bool = option(True, 'crop and colour changes on training images')
    paraphrases: str | None = option(
        None, 'YAML file with lists of sentences that ask for the same: a training instruction '
        'becomes one of its list, drawn anew every time'
    )
    unknown_words: float = option(
        0.0, 'chance that a training instruction gets an unknown word somewhere, for policies '
        'with words or subwords: they learn to pass over words that they do not know'
    )
    spelled_words: float = option(
        0.0, 'chance that a word of a training instruction is read in pieces, for policies with '
        'subwords: they learn the pieces from the words that they know'
    )
    episode_end_weight: float = option(
        1.0, 'sampling weight of the frames in the last chunk of an episode (arm almost at rest)'
    )


@dataclass(frozen=True)
class AugmentationConfig:
    """Ranges of the random changes to training images; drawn for every image.

    The area of the crop is `processing.images.crop_area`, which evaluation takes in the centre.
    """

    brightness: float = option(0.2, 'largest shift, in units of full scale')
    contrast: tuple[float, float] = option((0.8, 1.2), 'smallest and largest factor')
    saturation: tuple[float, float] = option((0.8, 1.2), 'smallest and largest factor')
    hue: float = option(0.05, 'largest shift, in turns')
    diagonal_crops: bool = option(
        False, "crops on the image's diagonal only, as the official code makes them by a fault"
    )


@dataclass(frozen=True)
class GroundingConfig:
    """Auxiliary loss that preserves the grounding of small encoders while the policy trains."""

    scenes: list[str] = option([], 'folders of experiments.grounding.render_scenes; none: off')
    weight: float = option(0.05, 'weight of the grounding loss relative to the action loss')
    batch_size: int = option(16, 'images per process and micro-step')


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, or Muon for matrices beside it."""

    kind: Literal['adamw', 'muon'] = option(
        'adamw', 'muon: Muon for the matrices of projector, language model and policy, at the '
        'same lr; AdamW for the rest',
    )
    lr: float = option(1e-4, 'peak learning rate (paper 1e-4, official code 2e-4)')
    backbone_lr: float | None = option(None, 'peak rate of the backbone; none: lr')
    betas: tuple[float, float] = option((0.9, 0.999), 'AdamW betas')
    weight_decay: float = option(0.01, 'AdamW weight decay on matrices')
    decay_all: bool = option(
        True, 'also decay biases, norms and embeddings '
        "(PyTorch's default and the official setting)",
    )
    clip_norm: float = option(1.0, 'maximum gradient norm; 0: no clipping')


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate over the steps."""

    kind: Literal['cosine', 'constant', 'step'] = option('cosine', 'shape after the warm-up')
    warmup: float = option(0.1, 'fraction of the steps in which the rate rises linearly from 0')
    floor: float = option(0.0, 'cosine: lowest rate as a fraction of the peak')
    decay_at: float = option(1.0, 'step: fraction of the steps after which the rate is a tenth')


@dataclass(frozen=True)
class ComputeConfig:
    """Device, precision, speed and memory."""

    device: str = option('auto', 'auto, cpu, cuda')
    precision: Literal['bf16', 'fp32'] = option(
        'bf16', 'bf16: autocast, frozen weights stored in bf16; trained weights stay fp32'
    )
    compile: bool = option(False, 'torch.compile of stems and repeated blocks')
    gradient_checkpointing: bool = option(False, 'recompute backbone blocks in the backward')
    threads: int | None = option(None, 'CPU threads of torch; none: torch decides')
    fused_optimizer: bool = option(True, 'fused AdamW kernel')
    feature_cache: bool = option(
        False, 'fast mode: compute the visual tokens of each frame once and keep them on disk; '
        "requires adaptation.mode=frozen and data.augment=false, so it is not the paper's recipe",
    )
    feature_folder: str | None = option(
        None, 'folder of the feature caches; none: features in output_dir'
    )


@dataclass(frozen=True)
class LogConfig:
    """Logging; intervals in optimiser steps."""

    every: int = option(20, 'steps between two log lines')
    tensorboard: bool = option(True, 'write TensorBoard events')
    wandb: str | None = option(None, 'Weights & Biases project; none: off')
    peak_tflops: float | None = option(
        None, 'dense peak of one device [TFLOP/s] for the MFU; none: known devices by name'
    )


@dataclass(frozen=True)
class SaveConfig:
    """Checkpoints and validation; intervals in optimiser steps."""

    every: int = option(1000, 'steps between two checkpoints')
    keep_last: int = option(3, 'number of latest checkpoints to keep; the best one is always kept')
    weights: Literal['merged', 'adapters'] = option(
        'merged', 'what a checkpoint holds: the whole network with the LoRA weights merged, or '
        'only what trained, which checkpoints.merge makes whole later',
    )
    dtype: Literal['float32', 'bfloat16'] = option(
        'float32', 'of the weights that trained or were adapted; bfloat16 halves a checkpoint '
        '(resuming is exact all the same)',
    )
    validate_every: int = option(
        1000, 'steps between two validations; 0: never. One that finds the lowest error yet saves '
        'a checkpoint and names it best',
    )
    validation_batches: int = option(50, 'maximum batches of one validation')
    plots: int = option(3, 'open-loop plots per validation')
    resume: bool = option(True, 'continue from the last checkpoint in output_dir if there is one')


@dataclass(frozen=True)
class SimulationConfig:
    """Success rate in simulation while training."""

    every: int = option(0, 'steps between two evaluations; 0: never')
    tasks: list[str] = option([], 'task names; see vla_adapter_ros.evaluation.simulate --help')
    episodes: int = option(20, 'episodes per task')
    level: str = option('bench', 'how much light, cameras and servos vary: nominal, bench, hard')
    execute_steps: int = option(8, 'actions executed of each chunk')


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    output_dir: str = option('runs/train', 'folder of checkpoints and logs')
    seed: int = option(7, 'seed of weights, order, noise and augmentation')
    steps: int = option(150_000, 'optimiser steps (paper: 150000)')
    batch_size: int = option(16, 'samples per process and micro-step (paper: 16)')
    accumulate: int = option(1, 'micro-steps per optimiser step')
    latent_noise: bool = option(
        True, "noise on the policy's initial latent in training, as officially; false: zeros "
        '(a diffusion policy always has its noise)',
    )
    ema: float = option(0.0, 'decay of the averaged weights, e.g. 0.999; 0: none')
    model: dict[str, Any] = option(
        {'preset': 'pro'},
        'network: preset (pro, original, dit: released sizes; llama2-7b, openvla-7b: backbones of '
        'Table 1; tiny) and changes to it, as in '
        'VLAAdapterConfig; only read when start.kind is random or base',
    )
    processing: dict[str, Any] = option(
        {}, 'changes to ProcessingConfig: images, prompt_format, normalisation, …'
    )
    tokenizer: str | None = option(
        None, 'folder of a tokenizer, or org/name on the Hub; none: that of the start weights '
        '(Qwen2.5-0.5B for a base VLM), or a word list of the instructions when start.kind is '
        'random; subwords: instead of the word list, which has pieces for all other words too',
    )
    start: StartConfig = section(StartConfig, 'initial weights')
    adaptation: AdaptationConfig = section(AdaptationConfig, 'what trains')
    data: DataConfig = section(DataConfig, 'datasets and loading')
    augmentation: AugmentationConfig = section(
        AugmentationConfig, 'ranges of data.augment'
    )
    grounding: GroundingConfig = section(GroundingConfig, 'auxiliary grounding loss')
    optimizer: OptimizerConfig = section(OptimizerConfig, 'AdamW or Muon')
    schedule: ScheduleConfig = section(ScheduleConfig, 'learning rate')
    compute: ComputeConfig = section(ComputeConfig, 'device, precision, speed and memory')
    log: LogConfig = section(LogConfig, 'logging')
    save: SaveConfig = section(SaveConfig, 'checkpoints and validation')
    simulation: SimulationConfig = section(SimulationConfig, 'success rate while training')

    def __post_init__(self) -> None:
        for name, good, allowed in self._rules():
            if not good:
                raise ConfigError(f'{name}: got {self._value(name)!r}, expected {allowed}')

    def _value(self, name: str) -> Any:
        value: Any = self
        for key in name.split('.'):
            value = getattr(value, key)
        return value

    def _moving_features(self) -> str:
        """Return why the visual tokens of a frame are not constant, or nothing."""
        if self.adaptation.mode != 'frozen':
            return f'adaptation.mode is {self.adaptation.mode}: towers and projector train'
        return 'data.augment is true: every image is new' if self.data.augment else ''

    def _rules(self) -> list[tuple[str, bool, str]]:
        data, opt, plan = self.data, self.optimizer, self.schedule
        changes = self.augmentation
        return [
            ('steps', self.steps > 0, 'at least 1'),
            ('batch_size', self.batch_size > 0, 'at least 1'),
            ('accumulate', self.accumulate > 0, 'at least 1'),
            ('ema', 0 <= self.ema < 1, 'a number in [0, 1)'),
            ('start.path', self.start.kind in ('random', 'base') or bool(self.start.path),
             f'a folder, because start.kind is {self.start.kind}'),
            ('start.grounded', self.start.kind == 'random' or not self.start.grounded,
             f'none, because start.kind is {self.start.kind}'),
            ('adaptation.mode',
             self.adaptation.mode != 'frozen' or self.start.kind != 'base'
             or not self.model.get('use_film'),
             'lora or full, because the FiLM layers of model.use_film are new to a base VLM'),
            ('adaptation.rank', self.adaptation.rank > 0, 'at least 1'),
            ('adaptation.dropout', 0 <= self.adaptation.dropout < 1, 'a number in [0, 1)'),
            ('data.weights',
             len(data.weights) in (0, len(data.datasets)) and min(data.weights, default=1) > 0,
             f'{len(data.datasets)} numbers above 0, one a dataset'),
            ('data.validation_fraction', 0 <= data.validation_fraction < 1, 'in [0, 1)'),
            ('data.workers', data.workers >= 0, 'at least 0'),
            ('data.prefetch', data.prefetch > 0, 'at least 1'),
            ('tokenizer', self.tokenizer != SUBWORDS or self.start.kind == 'random',
             f'a folder or none: start.kind {self.start.kind} keeps the words of its weights'),
            ('data.unknown_words', 0 <= data.unknown_words <= 1, 'a chance in [0, 1]'),
            ('data.spelled_words', 0 <= data.spelled_words <= 1, 'a chance in [0, 1]'),
            ('data.episode_end_weight', 0 < data.episode_end_weight <= 1, 'a number in (0, 1]'),
            ('augmentation.brightness', 0 <= changes.brightness <= 1, 'in [0, 1]'),
            ('augmentation.contrast', _is_range(changes.contrast), 'two factors, 0 < a <= b'),
            ('augmentation.saturation', _is_range(changes.saturation), 'two factors, 0 < a <= b'),
            ('augmentation.hue', 0 <= changes.hue <= 0.5, 'in [0, 0.5]'),
            ('grounding.scenes', self.adaptation.mode != 'frozen' or not self.grounding.scenes,
             'none, because adaptation.mode is frozen: the encoders do not train'),
            ('grounding.weight', self.grounding.weight > 0, 'above 0'),
            ('grounding.batch_size', self.grounding.batch_size > 0, 'at least 1'),
            ('optimizer.kind', opt.kind == 'adamw' or self.adaptation.mode != 'lora',
             "adamw, because adaptation.mode is lora: Muon is for a network's own matrices"),
            ('optimizer.lr', opt.lr > 0, 'above 0'),
            ('optimizer.clip_norm', opt.clip_norm >= 0, 'at least 0'),
            ('schedule.warmup', 0 <= plan.warmup < 1, 'a fraction in [0, 1)'),
            ('schedule.floor', 0 <= plan.floor <= 1, 'a fraction in [0, 1]'),
            ('schedule.decay_at', 0 < plan.decay_at <= 1, 'a fraction in (0, 1]'),
            ('compute.feature_cache',
             not self.compute.feature_cache or not self._moving_features(),
             f'false, because {self._moving_features()}'),
            ('log.every', self.log.every > 0, 'at least 1'),
            ('save.every', self.save.every > 0, 'at least 1'),
            ('save.weights',
             self.save.weights == 'merged'
             or (self.adaptation.mode != 'full' and self.start.kind != 'random'),
             'merged, because all weights train or start at random'),
            ('save.keep_last', self.save.keep_last > 0, 'at least 1'),
            ('simulation.every', self.simulation.every == 0 or bool(self.simulation.tasks),
             '0, because simulation.tasks is empty'),
        ]


def _is_range(factors: tuple[float, float]) -> bool:
    return 0 < factors[0] <= factors[1]


def find_recipe(name: str | Path) -> Path:
    """Return the path of a recipe: a file, or the name of one that ships (`paper`).

    Raises:
        ConfigError: neither; the message lists those that ship.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = [p for folder in config_folders() for p in sorted((folder / 'train').glob('*.yaml'))]
    for candidate in shipped:
        if str(name) == candidate.stem:
            return candidate
    names = ', '.join(dict.fromkeys(p.stem for p in shipped))
    raise ConfigError(f'config {name}: no such file; recipes that ship: {names}')


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> TrainConfig:
    """Return the configuration of a recipe with `section.key=value` overrides applied.

    Args:
        path: a YAML file or the name of a recipe that ships; None: the defaults.
        overrides: settings.

    Raises:
        ConfigError: a file, key or value is not allowed; the message names it.
    """
    values = read_recipe(find_recipe(path)) if path is not None else {}
    return build(TrainConfig, apply_overrides(values, overrides))


def read_recipe(path: Path, used_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the mapping of a recipe; `base: FILE` gives the keys that it leaves out.

    The base is a file beside the recipe or the name of one that ships, and may have a base too.

    Args:
        path: of the recipe.
        used_by: the recipes whose base it is.

    Raises:
        ConfigError: a file cannot be read, or a recipe is its own base.
    """
    values = read_yaml(path)
    name = values.pop('base', None)
    if name is None:
        return values
    beside = path.parent / str(name)
    try:
        base = beside if beside.is_file() else find_recipe(Path(str(name)).stem)
    except (ConfigError, OSError, ValueError) as error:
        raise ConfigError(f'config {path}: base {name}: {error}') from error
    chain = (*used_by, path)
    if any(base.samefile(recipe) for recipe in chain):
        names = ', '.join(recipe.name for recipe in chain)
        raise ConfigError(f'config {path}: base {name} has this recipe as a base ({names})')
    return merged(read_recipe(base, chain), values)
