# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Each recipe that ships starts, saves, resumes and is evaluated, with its own settings.

Only the network's width is smaller. What the recipes start from lies in a cache of the Hub under
its real names, the towers as timm names them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from support import data_samples
from support.checkpoint_cases import prismatic_state
from support.hub_server import put_into_cache
from support.training_samples import TEXTS, make_dataset
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.training import train
from vla_adapter_ros.training.checkpoints.content import merge
from vla_adapter_ros.training.config import load_config
from vla_adapter_ros.training.model_setup import network_config
from vla_adapter_ros.training.trainer import Trainer
from vla_adapter_ros.weights.released import BASE_TOKENIZER, BASE_VLM, TOWERS

constants = pytest.importorskip('huggingface_hub.constants')
RECIPES = sorted(p.stem for p in (Path(__file__).parents[2] / 'config/train').glob('*.yaml'))
NARROW = [
    'model.vision.width=16', 'model.vision.depth=2', 'model.vision.heads=2',
    'model.vision.mlp_hidden=16', 'model.vision.patch=8', 'model.vision.image_size=32',
    'model.language.hidden=16', 'model.language.layers=1', 'model.language.heads=2',
    'model.language.kv_heads=1', 'model.language.mlp_hidden=16', 'model.policy.heads=2',
    'model.language.vocab_size=600', 'model.num_queries=4',
]  # fmt: skip
QUICK = ['batch_size=1', 'accumulate=1', 'data.workers=0', 'compute.compile=false']


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp('data') / 'pick')


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp('hub'), NARROW)


def make_cache(root: Path, network: list[str]) -> Path:
    """Return a cache of the Hub with a base VLM, its towers and its tokenizer."""
    model = VLAAdapter.from_config(network_config(load_config('paper', network).model))
    nested, towers = prismatic_state(model.state_dict())
    (root / 'vlm/checkpoints').mkdir(parents=True)
    torch.save({'model': nested}, root / 'vlm/checkpoints/step-020792-epoch-01-loss=0.5268.pt')
    (root / 'tokenizer').mkdir()
    Tokenizer.from_texts(TEXTS).save(root / 'tokenizer')
    made = {BASE_VLM: root / 'vlm', BASE_TOKENIZER: root / 'tokenizer'}
    for key, tower in model.config.towers.items():
        made[TOWERS[tower.name]] = root / key
        (root / key).mkdir()
        save_file(towers[key], root / key / 'model.safetensors')
    for address, folder in made.items():
        repo = 'models--' + address.removeprefix('hub:').replace('/', '--')
        put_into_cache(folder, root / 'cache', '0' * 40, 'main', repo=repo)
    return root / 'cache'


class _Stop(Exception):
    pass


def two_steps(dataset, output, cache, recipe, monkeypatch, more) -> Path:
    """Run a recipe's first two steps, in two parts; returns its last checkpoint."""
    for name in ('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE'):
        monkeypatch.setattr(constants, name, str(cache))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    values = [
        f'output_dir={output}', f'data.datasets=[{dataset}]', 'compute.device=cpu',
        'compute.threads=1', 'save.every=1', 'save.validate_every=1', 'save.plots=0',
        'save.validation_batches=1', 'log.tensorboard=false', *more,
    ]  # fmt: skip
    config = load_config(recipe, [*NARROW, *values])
    step = Trainer._optimiser_step
    for last in (1, 2):

        def stopping(self, stream, window, last=last):
            if self.step == last:
                raise _Stop
            step(self, stream, window)

        monkeypatch.setattr(Trainer, '_optimiser_step', stopping)
        with pytest.raises(_Stop):
            train.run(config)
    return Path(output) / 'checkpoints' / 'step-00000002'


def check(last: Path, recipe: str) -> None:
    policy = Policy.from_pretrained(last, device='cpu')
    chunk = policy.predict(next(data_samples.observations(1, 0, TEXTS[0])))
    assert chunk.actions.shape == (8, 7)
    held_out = load_config(recipe).data.validation_fraction > 0
    assert (last.parent / 'best').exists() == held_out


@pytest.mark.parametrize('recipe', RECIPES)
def test_a_recipe_starts_saves_resumes_and_is_evaluated(
    dataset, tmp_path, cache, monkeypatch, recipe
):
    check(two_steps(dataset, tmp_path, cache, recipe, monkeypatch, QUICK), recipe)


def test_the_papers_recipe_runs_with_film_and_another_chunk_length(
    dataset, tmp_path, cache, monkeypatch
):
    more = [*QUICK, 'model.use_film=true', 'model.chunk_size=12', 'save.weights=adapters']
    last = two_steps(dataset, tmp_path / 'run', cache, 'paper', monkeypatch, more)
    merge(last, tmp_path / 'whole')
    policy = Policy.from_pretrained(tmp_path / 'whole', device='cpu')
    assert policy.engine.model.config.use_film
    observation = next(data_samples.observations(1, 0, TEXTS[0]))
    assert policy.predict(observation).actions.shape == (12, 7)


@pytest.mark.slow(reason='whole batches and compiled blocks of every recipe')
@pytest.mark.timeout(900)
@pytest.mark.parametrize('recipe', RECIPES)
def test_a_recipe_runs_with_its_own_batches_and_compilation(
    dataset, tmp_path, monkeypatch, recipe
):
    # These compile what `paper` compiles; `small_memory_10gb` does so behind checkpointing.
    others = ('official', 'official_pro', 'small_memory_24gb', 'small_memory_40gb')
    more = ['model.vision.depth=4', 'model.language.layers=3']
    cache = make_cache(tmp_path / 'hub', [*NARROW, *more])
    more += ['compute.compile=false'] if recipe in others else []
    # Blocks that torch gives up compiling would run without a word.
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        last = two_steps(dataset, tmp_path / 'run', cache, recipe, monkeypatch, more)
    check(last, recipe)
