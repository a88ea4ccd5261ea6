# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What cannot be checked is not configured, or cannot be enabled: policies, workspace."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')

from support.hub_server import hub_server
from support.policy_servers import SERVED, FakeServer
from vla_adapter_ros.errors import CheckpointError, ServerError, VLAAdapterError
from vla_adapter_ros.inference.simple_policies import shipped_checkpoint
from vla_adapter_ros.nodes.policy import policy_setup
from vla_adapter_ros.nodes.policy.policy_parameters import PolicyNodeParameters
from vla_adapter_ros.nodes.policy.policy_setup import PolicySetup
from vla_adapter_ros.robot.kinematics import Kinematics, KinematicsError


@pytest.fixture
def make():
    """A function that makes a setup, whose worker ends with the test."""
    setups = []

    def setup(**parameters):
        setups.append(PolicySetup(
            MagicMock(), PolicyNodeParameters(**parameters), MagicMock(), lambda: None,
            lambda sentence: None, MagicMock(),
        ))  # fmt: skip
        return setups[-1]

    yield setup
    for one in setups:
        one.release(1.0)


def test_without_a_checkpoint_nothing_is_configured_and_random_weights_only_by_name(
    make, monkeypatch
):
    monkeypatch.setattr(policy_setup, 'shipped_checkpoint', lambda: None)
    with pytest.raises(CheckpointError, match='parameter checkpoint is empty'):
        make(policy='checkpoint', robot='alicia_d').make_loop()


def test_a_checkpoint_of_the_hub_is_downloaded_only_after_the_log_says_so(
    make, monkeypatch, tmp_path
):
    constants = pytest.importorskip('huggingface_hub.constants')
    for name in ('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE'):
        monkeypatch.setattr(constants, name, str(tmp_path))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    setup = make(checkpoint='lab/pick', robot='alicia_d_sim', device='cpu', threads=1)
    seen = []

    def warning(text):
        seen.append((text, list(tmp_path.rglob('*.safetensors'))))

    setup._log.warning = warning
    with hub_server() as (address, repository):
        monkeypatch.setenv('HF_ENDPOINT', address)
        repository.files = {f.name: f.read_bytes() for f in shipped_checkpoint().iterdir()}
        setup.make_loop()
    assert setup.policy_name == f'hub:lab/pick@{repository.commit}'
    text, downloaded = seen[0]
    assert 'downloading' in text and 'weights.fetch lab/pick' in text
    assert not downloaded and list(tmp_path.rglob('*.safetensors'))


@pytest.mark.parametrize(
    ('theirs', 'accepted', 'said'),
    [
        ({}, False, 'accept_policy_without_contract: true'),
        ({'step_period': 0.04}, True, r'step period \[s\] \(0.04\) are not those'),
        ({'cameras': ('wrist',)}, True, 'cameras .*wrist'),
        ({'size': 8}, True, r'proprioception values \(8\) are not those'),
        ({}, True, ''),
    ],
)
def test_a_policy_without_a_contract_runs_only_if_that_is_wanted_and_its_sizes_fit(
    make, theirs, accepted, said
):
    setup = make(policy='hold', robot='alicia_d', accept_policy_without_contract=accepted)
    robot = setup.contract
    cameras, size = theirs.get('cameras', robot.cameras), theirs.get('size', robot.action_dim)
    policy = SimpleNamespace(
        contract=None,
        step_period=theirs.get('step_period', robot.step_period),
        pipeline=SimpleNamespace(
            proprio=SimpleNamespace(size=size), config=SimpleNamespace(cameras=tuple(cameras))
        ),
    )
    if not said:
        setup._check_contract(policy)
        return
    with pytest.raises(CheckpointError, match=said):
        setup._check_contract(policy)


def test_without_kinematics_the_workspace_box_refuses_motion(make, monkeypatch):
    def missing(*arguments):
        raise KinematicsError('pinocchio is not installed')

    monkeypatch.setattr(Kinematics, 'of', missing)
    obstacle = make(policy='hold', robot='alicia_d')._obstacle()
    assert 'pinocchio is not installed' in obstacle and 'remove workspace' in obstacle


def test_motion_from_the_start_is_for_simulated_robots(make):
    with pytest.raises(VLAAdapterError, match='is for simulated robots'):
        make(policy='hold', robot='alicia_d', enable=True)
    assert make(policy='hold', robot='alicia_d_sim', enable=True).contract.simulated


@pytest.mark.parametrize(
    ('other', 'said'),
    [
        ({'checkpoint': 'runs/pick'}, 'ws://gpu:8000 and checkpoint: runs/pick: expected one'),
        ({'policy': 'hold'}, 'and policy: hold'),
        ({'statistics_key': 'bridge'}, 'and statistics_key: bridge'),
    ],
)
def test_a_policy_server_beside_another_policy_is_refused(make, other, said):
    with pytest.raises(VLAAdapterError, match=said):
        make(robot='alicia_d', policy_server='ws://gpu:8000', **other)


def test_a_policy_server_takes_the_place_of_a_checkpoint(make):
    with FakeServer() as server:
        setup = make(robot='alicia_d', policy_server=server.url, watchdog_timeout=2.0)
        setup.make_loop()
        assert setup.policy_name == f'policy at {server.url}'
        # The warm-up had the size and the crop of the contract's cameras.
        assert server.requests[0]['images']['wrist'].shape == (8, 8, 3)
        assert server.requests[0]['deadline'] <= 1.8
        remote = setup._remote
        setup.release(1.0)
        with pytest.raises(ServerError, match='closed'):
            remote.warm_up()


@pytest.mark.parametrize(
    ('served', 'said'),
    [
        (
            {'contract': replace(SERVED.contract, step_period=0.2)},
            'is not what policy at ws://.* was trained for: step_period: 0.1 here, 0.2 there',
        ),
        ({'contract': None}, 'accept_policy_without_contract: true'),
    ],
)
def test_a_server_whose_policy_is_for_another_robot_is_refused_in_words(make, served, said):
    with FakeServer() as server:
        server.first = replace(SERVED, **served).to_message()
        with pytest.raises(CheckpointError, match=said):
            make(robot='alicia_d', policy_server=server.url).make_loop()


def test_of_a_server_without_contract_the_sizes_are_compared(make):
    with FakeServer() as server:
        server.first = replace(SERVED, contract=None, state_size=8).to_message()
        setup = make(
            robot='alicia_d', policy_server=server.url, accept_policy_without_contract=True
        )
        with pytest.raises(CheckpointError, match=r'proprioception values \(8\) are not those'):
            setup.make_loop()
