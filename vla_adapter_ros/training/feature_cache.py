# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The fast mode of a frozen backbone: each frame's visual tokens computed once, kept on disk.

With frozen towers and projector and no augmentation, what the projector gives for a frame never
changes. It is stored as the network would compute it in this run (bf16 under autocast, else
float32), without rounding. The language model runs as usual: its states depend on the
ActionQueries, which train.

It is not the paper's recipe: a frozen VLM without augmentation reached 86.4 % there, against 95 %.

    FOLDER/<key>/tokens.bin      frame after frame, (V, D) each     FOLDER/<key>/about.json

The key is a hash of weights, data, preprocessing, shapes and precision: another of these is
another cache, and a stale one is never read. An interrupted build continues where it stopped.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from vla_adapter_ros.data.files import storage_errors, sync_entry
from vla_adapter_ros.data.training.dataset import Dataset, FrameStore
from vla_adapter_ros.data.training.mixture import Mixture
from vla_adapter_ros.errors import ConfigError, DatasetError
from vla_adapter_ros.training.assembly import TrainingSetup
from vla_adapter_ros.training.config import TrainConfig
from vla_adapter_ros.weights.files import make_folder, write_json

VERSION = 1
TOKENS, ABOUT, PROGRESS = 'tokens.bin', 'about.json', 'progress.json'
# Frames of the data that enter the key, besides all states and actions.
SAMPLED_FRAMES = 32
FLUSH_EVERY = 64  # batches between two points from which an interrupted build can resume


@dataclass(frozen=True)
class Layout:
    """How the tokens of one dataset are stored.

    Attributes:
        frames, tokens, width: N, V and D.
        dtype: `bfloat16` or `float32`.
    """

    frames: int
    tokens: int
    width: int
    dtype: str

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.tokens * self.width * (2 if self.dtype == 'bfloat16' else 4)

    @property
    def total_bytes(self) -> int:
        """Bytes of all frames."""
        return self.frames * self.frame_bytes

    @property
    def storage(self) -> type:
        """Type of the numbers on disk; NumPy has no bfloat16, its bits are stored."""
        return np.int16 if self.dtype == 'bfloat16' else np.float32


class FeatureFrames:
    """A dataset's frames whose images are visual tokens (see `data.frames.FrameStore`).

    Args:
        store: the frames the tokens were made of.
        path: a finished cache.
        layout: its shape.
    """

    def __init__(self, store: FrameStore, path: Path, layout: Layout) -> None:
        self.episodes, self.cameras = store.episodes, store.cameras
        self.state, self.actions = store.state, store.actions
        shape = (layout.frames, layout.tokens * layout.width)
        try:
            self._tokens = np.memmap(path / TOKENS, layout.storage, 'r', shape=shape)
        except (OSError, ValueError) as error:
            raise DatasetError(f'{path / TOKENS}: damaged ({error}); remove {path}') from error
        self._layout = layout

    def images(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return (B, V, D) visual tokens of the frames at `rows`, bfloat16 as its int16 bits."""
        found = np.take(self._tokens, np.asarray(rows, np.int64), axis=0)
        return found.reshape(len(found), self._layout.tokens, self._layout.width)


def check_cacheable(setup: TrainingSetup, config: TrainConfig) -> None:
    """Refuse the cache where a frame's tokens are not constant.

    Raises:
        ConfigError: naming why. (Adaptation and augmentation: see `TrainConfig`.)
    """
    if setup.model.config.use_film:
        raise ConfigError(
            'compute.feature_cache: got True, expected false, because with FiLM '
            '(model.use_film) the vision towers see the instruction'
        )
    if any(p.requires_grad for p in _vision(setup)):
        raise ConfigError(
            'compute.feature_cache: got True, expected false, because towers or projector train'
        )


def layout_of(setup: TrainingSetup, dataset: Dataset, config: TrainConfig) -> Layout:
    """Return how the tokens of a dataset are stored in this run."""
    network = setup.model.config
    dtype = 'bfloat16' if config.compute.precision == 'bf16' else 'float32'
    frames = len(dataset.store.state)
    return Layout(frames, network.visual_tokens, network.language.hidden, dtype)


def cache_folder(config: TrainConfig) -> Path:
    """Return the folder of this run's caches."""
    return Path(config.compute.feature_folder or Path(config.output_dir) / 'features')


def cache_key(setup: TrainingSetup, dataset: Dataset, layout: Layout) -> str:
    """Return the name of a cache: a hash of everything its numbers depend on."""
    digest = hashlib.sha256()
    about = {
        'version': VERSION,
        'layout': asdict(layout),
        'images': setup.pipeline.config.images.to_dict(),
        'vision': [asdict(tower) for tower in setup.model.config.vision],
        'cameras': list(dataset.cameras),
        'prepared': getattr(getattr(dataset.store, 'path', None), 'name', None),
    }
    digest.update(json.dumps(about, sort_keys=True).encode())
    for part in (setup.model.vision_backbone, setup.model.projector):
        for name, value in part.state_dict().items():
            digest.update(f'{name} {value.dtype}'.encode())
            digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    store = dataset.store
    for vectors in (store.state, store.actions):
        digest.update(np.ascontiguousarray(vectors).data)
    chosen = np.linspace(0, layout.frames - 1, min(layout.frames, SAMPLED_FRAMES)).astype(int)
    digest.update(np.ascontiguousarray(store.images(chosen)).data)
    return digest.hexdigest()[:16]


def use_feature_cache(
    setup: TrainingSetup, config: TrainConfig, device: torch.device, progress: bool
) -> None:
    """Make `setup.mixture` return visual tokens for images; builds missing caches.

    Args:
        setup: of the run, adapted; its model is moved to `device`.
        config: of the run.
        device: where to compute.
        progress: show a progress bar.

    Raises:
        ConfigError: the tokens of a frame are not constant in this run.
            Or the network does not fit into the GPU's free memory.
        DatasetError: no room on the disk; computed tokens stay for the next attempt.
    """
    check_cacheable(setup, config)
    _check_gpu(setup.model, device)
    setup.model.to(device)
    made = []
    for dataset in setup.mixture.datasets:
        layout = layout_of(setup, dataset, config)
        target = cache_folder(config) / cache_key(setup, dataset, layout)
        _ensure(target, setup, dataset, layout, config, progress)
        cached = copy.copy(dataset)
        cached.store = FeatureFrames(dataset.store, target, layout)
        made.append(cached)
    setup.mixture = Mixture(made, setup.mixture.weights)


def describe_cache(setup: TrainingSetup, config: TrainConfig) -> list[str]:
    """Return lines for `--dry-run`: size and place of each cache, and whether it exists."""
    check_cacheable(setup, config)
    lines = []
    for dataset in setup.mixture.datasets:
        layout = layout_of(setup, dataset, config)
        target = cache_folder(config) / cache_key(setup, dataset, layout)
        state = 'already built' if (target / ABOUT).is_file() else 'to be built'
        shape = f'{layout.tokens} x {layout.width} {layout.dtype}'
        lines.append(
            f'feature cache       {layout.total_bytes / 1e9:.3f} GB for {layout.frames} frames of '
            f'{dataset.name!r} ({shape}), {state}: {target}'
        )
    return lines


def _check_gpu(model: torch.nn.Module, device: torch.device) -> None:
    if device.type != 'cuda':
        return
    tensors = [*model.parameters(), *model.buffers()]
    needed = sum(t.numel() * t.element_size() for t in tensors if t.device != device)
    free = torch.cuda.mem_get_info(device)[0]
    if needed > free:
        raise ConfigError(
            f'compute.feature_cache: the network needs {needed / 1e9:.2f} GB of GPU memory, '
            f'{free / 1e9:.2f} GB are free; end other programs on {device}, or use another '
            'compute.device'
        )


def _vision(setup: TrainingSetup) -> Iterator[torch.nn.Parameter]:
    yield from setup.model.vision_backbone.parameters()
    yield from setup.model.projector.parameters()


def _ensure(
    target: Path, setup: TrainingSetup, dataset: Dataset, layout: Layout, config: TrainConfig,
    progress: bool,
) -> None:
    """Build one cache unless it exists."""
    partial = target.with_name(f'{target.name}.partial')
    kept = f'frames computed so far stay in {partial}, the next run continues from them'
    with storage_errors(target, kept):
        make_folder(target.parent)
        with _locked(target.with_name(f'{target.name}.lock')):
            if (target / ABOUT).is_file():
                return
            make_folder(partial)
            first = _resume_point(partial, layout)
            _check_room(partial, layout, first)
            _fill(partial, setup, dataset, layout, config, first, progress)
            write_json(partial / ABOUT, asdict(layout) | {'dataset': dataset.name})
            (partial / PROGRESS).unlink(missing_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
            sync_entry(target)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process of a machine build a cache; the others wait, then find it."""
    import fcntl

    with path.open('w') as file:
        with contextlib.suppress(OSError):  # some network file systems cannot lock
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _resume_point(partial: Path, layout: Layout) -> int:
    """Return how many frames an interrupted build has safely written."""
    try:
        done = int(json.loads((partial / PROGRESS).read_text())['frames'])
        size = (partial / TOKENS).stat().st_size
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return 0
    return done if 0 <= done <= min(layout.frames, size // layout.frame_bytes) else 0


def _check_room(partial: Path, layout: Layout, first: int) -> None:
    wanted = (layout.frames - first) * layout.frame_bytes
    free = shutil.disk_usage(partial).free
    if wanted > free:
        raise DatasetError(
            f'{partial.parent}: the feature cache needs {wanted / 1e9:.2f} GB more, the disk has '
            f'{free / 1e9:.2f} GB; choose another compute.feature_folder, '
            'or compute.feature_cache=false'
        )


def _fill(
    partial: Path, setup: TrainingSetup, dataset: Dataset, layout: Layout, config: TrainConfig,
    first: int, progress: bool,
) -> None:
    """Compute the tokens of the frames from `first` on and append them to the file."""
    path = partial / TOKENS
    with path.open('r+b' if path.exists() else 'w+b') as file:
        # Plain writes: a full disk gives an error, where a mapped page would kill the process.
        file.truncate(first * layout.frame_bytes)
        file.seek(0, os.SEEK_END)
        steps = range(first, layout.frames, config.batch_size)
        bar = tqdm(total=layout.frames, initial=first, unit='frame', disable=not progress,
                   desc=f'visual tokens of {dataset.name}')  # fmt: skip
        with bar:
            for number, start in enumerate(steps):
                rows = np.arange(start, min(start + config.batch_size, layout.frames))
                file.write(_tokens(setup, dataset, rows, config))
                bar.update(len(rows))
                if (number + 1) % FLUSH_EVERY == 0:
                    _record(file, partial, int(rows[-1]) + 1)
        _record(file, partial, layout.frames)


def _record(file: Any, partial: Path, frames: int) -> None:
    file.flush()
    os.fsync(file.fileno())
    write_json(partial / PROGRESS, {'frames': frames})


@torch.no_grad()
def _tokens(
    setup: TrainingSetup, dataset: Dataset, rows: np.ndarray, config: TrainConfig
) -> bytes:
    """Return the bytes of the visual tokens of some frames, as training would compute them."""
    model = setup.model
    pixels = setup.collate.pixels(dataset.store.images(rows), model.device)
    mixed = config.compute.precision == 'bf16'
    with torch.autocast(model.device.type, torch.bfloat16, enabled=mixed):
        # Without FiLM the towers see no language; the prompt is not looked at.
        nothing = pixels.new_zeros(0)
        tokens = model.visual_tokens(pixels, nothing, nothing)
    wanted = torch.bfloat16 if mixed else torch.float32
    tokens = tokens.to(wanted).cpu().contiguous()
    return tokens.view(torch.int16 if mixed else torch.float32).numpy().tobytes()
