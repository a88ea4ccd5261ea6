# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""lerobot's batches become the observations of the robot, and chunks its joint targets."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from support.policy_cases import ONE_THREAD, alicia
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.lerobot_policy.features import (
    Features,
    PluginError,
    Settings,
    action_queue,
)
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.action_space import ActionConverter

TASK, CAMERAS = 'pick up the red block', ('third_person', 'wrist')
STATE = np.array([0.1, -0.2, 0.3, 0.0, 0.2, -0.1, 0.5], np.float32)


@pytest.fixture(scope='module')
def policy() -> Policy:
    """Its wrist camera hangs sideways and is cropped; its actions are offsets."""
    cameras = alicia().to_dict()['cameras']
    cameras['wrist'] |= {'rotate': 90, 'crop': [80, 0, 480, 480]}
    contract = alicia(cameras=cameras, action_space='joint_delta')
    return Policy.random(contract, settings=ONE_THREAD)


def camera_images(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.integers(0, 256, (480, 640, 3), dtype=np.uint8) for name in CAMERAS}


def upright(images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return images | {'wrist': np.rot90(images['wrist'], -1)}


def batch_of(*observed: dict[str, np.ndarray], **changes) -> dict:
    """What lerobot makes of upright images: float32 in [0, 1], channels first."""
    batch = {
        f'observation.images.{name}': torch.from_numpy(
            np.stack([images[name] for images in observed]).transpose(0, 3, 1, 2) / np.float32(255)
        )
        for name in CAMERAS
    }
    states = torch.from_numpy(np.stack([STATE + n for n in range(len(observed))]))
    return batch | {'observation.state': states, 'task': [TASK] * len(observed)} | changes


def test_upright_images_reach_the_network_as_those_of_the_camera_do(policy):
    images = [camera_images(seed) for seed in range(2)]
    found = Features(policy).observations(batch_of(*map(upright, images)))
    for seen, raw in zip(found, images, strict=True):
        cropped = raw | {'wrist': raw['wrist'][:, 80:560]}
        direct = Observation(cropped, STATE, TASK, 0.0)
        config = policy.pipeline.config
        for got, expected in zip(config.views(seen), config.views(direct), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_the_view_that_the_network_sees_passes_unchanged(policy):
    views = policy.pipeline.config.resized_views(
        {n: i[:, 80:560] if n == 'wrist' else i for n, i in camera_images(0).items()}
    )
    batch = batch_of(dict(zip(CAMERAS, views, strict=True)))
    seen = Features(policy).observations(batch)[0]
    for got, expected in zip(policy.pipeline.config.views(seen), views, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_actions_are_absolute_targets_within_the_limits(policy):
    images = upright(camera_images(0))
    features = Features(policy)
    actions = features.actions(batch_of(images))
    seen = features.observations(batch_of(images))[0]
    targets = ActionConverter(policy.contract).to_targets(
        policy.predict(seen).actions, STATE.astype(float)
    )
    limits = policy.contract.lower, policy.contract.upper
    np.testing.assert_allclose(actions[0], np.clip(targets, *limits), atol=1e-9)
    assert np.abs(targets[:, :6] - policy.predict(seen).actions[:, :6]).max() > 0.05
    far = torch.from_numpy(STATE + 10)[None]
    actions = features.actions(batch_of(images, **{'observation.state': far}))
    assert (actions <= policy.contract.upper).all()
    np.testing.assert_allclose(actions[0, :, 0], policy.contract.upper[0])


def test_each_of_a_batch_gets_its_own_chunk(policy):
    images = [upright(camera_images(seed)) for seed in range(2)]
    both = Features(policy).actions(batch_of(*images))
    state = torch.from_numpy(STATE + 1)[None]
    second = Features(policy).actions(batch_of(images[1], **{'observation.state': state}))
    np.testing.assert_allclose(both[1], second[0], atol=1e-4)
    queue = action_queue(both, 3)
    assert [tuple(step.shape) for step in queue] == [(2, 7)] * 3
    np.testing.assert_array_equal(queue[2], both[:, 2].astype(np.float32))


def test_shapes_and_names_are_those_of_the_contract(policy):
    features = Features(policy, Settings({'wrist': 'observation.images.hand'}))
    assert features.inputs() == {
        'observation.images.third_person': (3, 480, 640),
        'observation.images.hand': (3, 480, 480),
        'observation.state': (7,),
    }
    assert features.action_names() == policy.contract.names


WRIST = 'observation.images.wrist'


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({WRIST: None}, r'observation\.images\.wrist: got shape \(\), expected \(B, 3, H, W\)'),
        ({WRIST: torch.zeros(1, 480, 640, 3)}, r'got shape \(1, 480, 640, 3\)'),
        ({WRIST: torch.zeros(2, 3, 640, 480)}, 'got 2 images, expected 1'),
        ({WRIST: torch.full((1, 3, 640, 480), 2.0)}, 'from 2 to 2, expected 0 to 1'),
        ({WRIST: torch.full((1, 3, 640, 480), torch.nan)}, 'NaN or infinity'),
        ({WRIST: torch.zeros(1, 3, 320, 240)}, 'image is 320×240 pixels, the contract says 640'),
        ({'observation.state': torch.zeros(1, 6)}, r'got shape \(1, 6\), expected \(B, 7\)'),
        ({'observation.state': torch.full((1, 7), torch.inf)}, 'NaN or infinity'),
        ({'task': ''}, "task: got '', expected an instruction for each of 1"),
        ({'task': [TASK, TASK]}, 'task: got'),
        ({'task': None}, 'task: got None'),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(policy, changes, sentence):
    with pytest.raises(ObservationError, match=sentence):
        Features(policy).observations(batch_of(upright(camera_images(0)), **changes))


def test_a_missing_feature_is_named_with_those_there(policy):
    batch = batch_of(upright(camera_images(0)))
    del batch[WRIST]
    with pytest.raises(ObservationError, match=r'wrist: missing; the batch has .*third_person'):
        Features(policy).observations(batch)


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        (Settings({'hand': 'x'}), "cameras: got 'hand', the policy has"),
        (Settings(gripper='left'), "gripper: got 'left', expected one of"),
        (Settings(gripper='libero'), 'has a robot contract'),
    ],
)
def test_settings_that_do_not_fit_are_refused(policy, settings, sentence):
    with pytest.raises(PluginError, match=sentence):
        Features(policy, settings)


def test_released_checkpoints_command_the_gripper_of_a_benchmark():
    chunk = SimpleNamespace(actions=np.tile(np.array([0.0] * 6 + [0.9]), (8, 1)))
    released = SimpleNamespace(
        contract=None,
        pipeline=SimpleNamespace(
            config=SimpleNamespace(
                cameras=('third_person',),
                rotations={},
                images=SimpleNamespace(rotate=0, size=224),
            ),
            proprio=SimpleNamespace(size=8),
        ),
        predict_many=lambda observations: [chunk] * len(observations),
    )
    features = Features(released, Settings({'third_person': 'observation.image'}, 'libero'))
    assert features.inputs()['observation.image'] == (3, 224, 224)
    batch = {
        'observation.image': torch.zeros(1, 3, 256, 256, dtype=torch.uint8),
        'observation.state': torch.zeros(1, 8),
        'task': TASK,
    }
    assert (features.actions(batch)[0, :, 6] == -1).all()  # opens
