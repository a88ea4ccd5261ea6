# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The Gymnasium environments follow Gymnasium's rules and reproduce by seed."""

import numpy as np
import pytest

gymnasium = pytest.importorskip('gymnasium')
environment = pytest.importorskip('vla_adapter_ros.simulation.environment')

from gymnasium.utils.env_checker import check_env  # noqa: E402

from vla_adapter_ros.processing.observation import Observation  # noqa: E402
from vla_adapter_ros.simulation.expert.expert import ExpertPolicy  # noqa: E402
from vla_adapter_ros.simulation.tasks import TASKS  # noqa: E402


@pytest.fixture
def env():
    made = gymnasium.make('AliciaMove-v0', image_size=64, render_mode='rgb_array')
    yield made
    made.close()


def test_every_task_has_a_registered_id():
    assert len(environment.ENVIRONMENT_IDS) == len(TASKS)
    assert 'AliciaPickAndPlace-v0' in environment.ENVIRONMENT_IDS
    assert all(name in gymnasium.registry for name in environment.ENVIRONMENT_IDS)


@pytest.mark.filterwarnings('ignore:.*:UserWarning')
def test_it_passes_gymnasiums_own_check(env):
    check_env(env.unwrapped, skip_render_check=True)


def test_a_seed_reproduces_the_episode_to_the_pixel(env):
    rng = np.random.default_rng(0)
    observation, _ = env.reset(seed=8)
    actions = observation['proprioception'] + rng.uniform(-0.1, 0.1, (5, 7))
    runs = []
    for _ in range(2):
        observation, _ = env.reset(seed=8)
        for action in np.clip(actions, env.action_space.low, env.action_space.high):
            observation, *_ = env.step(action)
        runs.append(observation)
    assert runs[0]['instruction'] == runs[1]['instruction']
    np.testing.assert_array_equal(runs[0]['proprioception'], runs[1]['proprioception'])
    for name in ('third_person', 'wrist'):
        np.testing.assert_array_equal(runs[0]['images'][name], runs[1]['images'][name])


def test_the_expert_earns_the_reward_and_standing_still_does_not(env):
    expert = ExpertPolicy(lambda: env.unwrapped.simulation.object_poses())
    observation, info = env.reset(seed=1)
    assert not info['success']
    for step in range(TASKS['move'].horizon):
        seen = Observation(
            {}, observation['proprioception'], observation['instruction'], 0.1 * step
        )
        observation, reward, terminated, truncated, info = env.step(expert.act(seen))
        if terminated:
            break
    assert (reward, terminated, truncated, info['success']) == (1.0, True, False, True)
    observation, _ = env.reset(seed=1)
    still = np.clip(observation['proprioception'], env.action_space.low, env.action_space.high)
    for _ in range(TASKS['move'].horizon):
        *_, reward, terminated, truncated, info = env.step(still)
        assert reward == 0.0 and not terminated
    assert truncated


def test_it_renders_a_image(env):
    env.reset(seed=0)
    image = env.render()
    assert image.shape == (480, 640, 3)
    assert image.std() > 20
    with pytest.raises(ValueError, match='rgb_array'):
        environment.AliciaEnv(render_mode='human')
