# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A dataset whose contract another tool dropped gets it back."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from support.data_samples import contract, observations, targets
from vla_adapter_ros.data.attach import main
from vla_adapter_ros.data.lerobot.layout import EXTRA
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.weights.files import write_json


@pytest.fixture(scope='module')
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp('data') / 'pick'
    with DatasetWriter(path, contract(), storage='image') as writer:
        writer.add_episode(observations(5), targets(5), 'pick up the cube')
    return path


@pytest.fixture
def edited(original, tmp_path):
    path = shutil.copytree(original, tmp_path / 'edited')
    (path / EXTRA).unlink()
    return path


def test_the_contract_comes_back_from_the_original(original, edited, capsys):
    assert open_source(edited).contract is None
    assert main([str(edited), '--contract', str(original)]) == 0
    source = open_source(edited)
    assert not source.contract.differences(contract())
    assert source.action_kind == 'joint_target'
    np.testing.assert_allclose(source.states_actions(0).actions, targets(5), atol=1e-6)
    assert main([str(edited), '--contract', str(original)]) == 1
    assert 'has a contract already, this one' in capsys.readouterr().out


def test_a_contract_that_does_not_fit_is_refused(edited, tmp_path, capsys):
    view = contract().to_dict()['cameras']['wrist']
    write_json(tmp_path / 'other.yaml', contract(cameras={'top': view}).to_dict())
    assert main([str(edited), '--contract', str(tmp_path / 'other.yaml')]) == 1
    assert "contract alicia_d has ['top']" in capsys.readouterr().out
    assert not (edited / EXTRA).exists()
    assert main([str(edited), '--contract', str(edited)]) == 1
    assert 'vla_adapter.json: cannot be read' in capsys.readouterr().out
