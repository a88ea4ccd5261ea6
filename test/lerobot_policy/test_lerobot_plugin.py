# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The public lerobot library runs our checkpoints. Runs where it is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('lerobot', reason='lerobot is not installed')

from lerobot.configs.policies import PreTrainedConfig
from lerobot.envs.factory import make_env
from lerobot.envs.utils import preprocess_observation
from lerobot.policies.factory import make_policy, make_pre_post_processors
from lerobot.policies.utils import prepare_observation_for_inference

from vla_adapter_ros.data.lerobot.columns import Columns
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.lerobot_policy.environment_alicia import AliciaEnvConfig
from vla_adapter_ros.lerobot_policy.export import PLUGIN, main
from vla_adapter_ros.lerobot_policy.features import PluginError
from vla_adapter_ros.lerobot_policy.modeling_vla_adapter import VlaAdapterPolicy
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.action_space import ActionConverter

PACKAGE = Path(__file__).parents[2] / 'vla_adapter_ros'
SHIPPED = PACKAGE / 'checkpoints/tiny_sim'
EXACT = ['--device=cpu', '--dtype=float32', '--threads=1']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    output = tmp_path_factory.mktemp('lerobot') / 'tiny'
    assert main([str(SHIPPED), '--output', str(output)]) == 0
    return output


def configuration(folder):
    config = PreTrainedConfig.from_pretrained(folder, cli_overrides=EXACT)
    config.pretrained_path = folder
    return config


def processors(config, folder):
    """As lerobot's evaluation loads them."""
    overrides = {
        'device_processor': {'device': 'cpu'},
        'rename_observations_processor': {'rename_map': {}},
    }
    return make_pre_post_processors(config, str(folder), preprocessor_overrides=overrides)


def test_actions_are_those_of_our_policy_over_two_chunks(folder):
    config, env_config = configuration(folder), AliciaEnvConfig(task='reach')
    policy = make_policy(config, env_cfg=env_config)
    before, after = processors(config, folder)
    ours = Policy.from_pretrained(SHIPPED, device='cpu', dtype='float32', threads=1)
    converter = ActionConverter(ours.contract)
    env = make_env(env_config, n_envs=2)['alicia'][0]
    seen, _ = env.reset(seed=[3, 4])
    policy.reset()
    for step in range(16):
        if step % 8 == 0:
            expected = []
            for n, text in enumerate(env.call('task_description')):
                images = {name: pixels[n] for name, pixels in seen['pixels'].items()}
                state = seen['agent_pos'][n].astype(np.float32)
                actions = ours.predict(Observation(images, state, text, 0.0)).actions
                targets = converter.to_targets(actions, state)
                limits = ours.contract.lower, ours.contract.upper
                expected.append(np.clip(targets, *limits))
        batch = preprocess_observation(seen)
        batch['task'] = list(env.call('task_description'))
        action = after(policy.select_action(before(batch))).numpy()
        # Observations of a batch differ from single ones by rounding.
        np.testing.assert_allclose(action, np.array(expected)[:, step % 8], atol=2e-5)
        seen = env.step(action)[0]
    env.close()


def test_a_single_robot_gets_exactly_our_actions(folder):
    config = configuration(folder)
    policy = VlaAdapterPolicy.from_pretrained(folder, config=config)
    before, after = processors(config, folder)
    ours = Policy.from_pretrained(SHIPPED, device='cpu', dtype='float32', threads=1)
    seen = ours.example_observation('reach the red block')
    state = seen.proprioception.astype(np.float32)
    frame = {f'observation.images.{name}': image for name, image in seen.images.items()}
    frame |= {'observation.state': state}
    actions = []
    for _ in range(8):
        # As lerobot's recording and rollout prepare what a robot sees.
        batch = prepare_observation_for_inference(
            dict(frame), torch.device('cpu'), seen.instruction, 'alicia'
        )
        actions.append(after(policy.select_action(before(batch)))[0].numpy())
    exact = Observation(seen.images, state, seen.instruction, 0.0)
    targets = ActionConverter(ours.contract).to_targets(ours.predict(exact).actions, state)
    limits = ours.contract.lower, ours.contract.upper
    np.testing.assert_allclose(actions, np.clip(targets, *limits), atol=1e-6)


def test_saved_and_loaded_again_it_is_the_same(folder, tmp_path):
    config = configuration(folder)
    first = VlaAdapterPolicy.from_pretrained(folder, config=config)
    first.save_pretrained(tmp_path / 'copy')
    for processor in processors(config, folder):
        processor.save_pretrained(tmp_path / 'copy')
    saved = PreTrainedConfig.from_pretrained(tmp_path / 'copy', cli_overrides=EXACT)
    second = VlaAdapterPolicy.from_pretrained(tmp_path / 'copy', config=saved)
    batch = {
        name: torch.zeros(1, *feature.shape) for name, feature in config.input_features.items()
    }
    batch['task'] = 'reach the red block'
    expected = first.predict_action_chunk(batch)
    assert torch.equal(second.predict_action_chunk(batch), expected)


def test_the_files_we_write_are_those_that_lerobot_writes(folder, tmp_path):
    config = configuration(folder)
    config._save_pretrained(tmp_path)
    for processor in make_pre_post_processors(config):
        processor.save_pretrained(tmp_path)
    for name in ('policy_preprocessor', 'policy_postprocessor'):
        files = [json.loads((place / f'{name}.json').read_text()) for place in (folder, tmp_path)]
        assert files[0] == files[1]
    ours, theirs = (json.loads((x / 'config.json').read_text()) for x in (folder, tmp_path))
    assert {key: theirs[key] for key in ours} == ours


def test_lerobot_is_told_that_it_cannot_train_it(folder):
    config = configuration(folder)
    with pytest.raises(PluginError, match=r'vla_adapter_ros\.training\.train'):
        config.get_optimizer_preset()
    with pytest.raises(PluginError, match='no checkpoint is named'):
        config.pretrained_path = None
        VlaAdapterPolicy(config)


def test_another_action_vector_is_refused(folder):
    config, env_config = configuration(folder), AliciaEnvConfig(task='reach')
    env_config.features['action'].shape = (6,)
    with pytest.raises(PluginError, match=r'has shape \(6,\), the checkpoint \(7,\)'):
        make_policy(config, env_cfg=env_config)


def test_another_order_of_the_joints_is_refused(folder):
    """lerobot 0.6 names the actions of the dataset that a rollout records."""
    config = configuration(folder)
    config.action_feature_names = ['Joint2.pos', 'Joint1.pos', 'Joint3.pos', 'Joint4.pos',
                                   'Joint5.pos', 'Joint6.pos', 'Gripper.pos']  # fmt: skip
    with pytest.raises(PluginError, match=r"the order is \['Joint2', 'Joint1'"):
        VlaAdapterPolicy.from_pretrained(folder, config=config)


def test_lerobot_eval_runs_the_shipped_checkpoint(folder, tmp_path):
    command = [
        sys.executable, '-m', 'lerobot.scripts.lerobot_eval', f'--policy.path={folder}',
        f'--policy.discover_packages_path={PLUGIN}', '--policy.device=cpu', '--env.type=alicia',
        '--env.task=reach', '--eval.n_episodes=4', '--eval.batch_size=2',
        '--eval.use_async_envs=false', f'--output_dir={tmp_path}', '--seed=1000',
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((tmp_path / 'eval_info.json').read_text())
    assert report['overall']['n_episodes'] == 4
    assert report['overall']['pc_success'] >= 50


def recording(folder, root):
    """The command with which lerobot records a policy: rollout from 0.6 on, record before."""
    command = [
        f'--policy.path={folder}', f'--policy.discover_packages_path={PLUGIN}',
        '--policy.device=cpu', '--robot.type=alicia_sim', '--robot.task=reach',
        '--dataset.single_task=touch the green ball', f'--dataset.root={root}', '--dataset.fps=10',
        '--dataset.num_episodes=1', '--dataset.episode_time_s=20', '--dataset.push_to_hub=false',
        '--play_sounds=false',
    ]  # fmt: skip
    if find_spec('lerobot.rollout') is None:
        module, more = 'lerobot_record', ['--dataset.repo_id=local/eval_reach']
    else:
        module = 'lerobot_rollout'
        more = ['--strategy.type=episodic', '--fps=10', '--return_to_initial_position=false',
                '--dataset.repo_id=local/rollout_reach', '--dataset.no_stamp=true']  # fmt: skip
    return [sys.executable, '-m', f'lerobot.scripts.{module}', *command, *more]


def test_lerobot_records_our_policy_on_the_simulated_robot_and_we_read_it(folder, tmp_path):
    root = tmp_path / 'set'
    done = subprocess.run(recording(folder, root), capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "alicia_sim: 'touch the green ball': done after" in done.stderr + done.stdout
    source = open_source(root, Columns(actions='joint_target'))
    (episode,) = source.episodes
    assert episode.instruction == 'touch the green ball' and episode.length > 10
    vectors = source.states_actions(0)
    assert vectors.state.shape == vectors.actions.shape == (episode.length, 7)
    moved = np.abs(vectors.state[-1] - vectors.state[0]).max()
    assert moved > 0.1
    # The arm reaches each target in the 0.1 s until the next observation.
    assert np.abs(vectors.actions[:-1] - vectors.state[1:]).mean() < 0.02
    for camera in source.cameras:
        first, last = source.images(0, camera, [0, episode.length - 1])
        assert first.std() > 10 and np.abs(first.astype(int) - last).mean() > 0.5
