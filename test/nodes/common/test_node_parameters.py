# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Node parameters: one dataclass is type, default, limits and text; the YAML file agrees."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.common.parameters import check_value
from vla_adapter_ros.nodes.policy.policy_parameters import PolicyNodeParameters, check_policy
from vla_adapter_ros.nodes.simulation.sim_arm_node import SimArmParameters

CONFIG = Path(__file__).resolve().parents[3] / 'config'
SPECS = {spec.name: spec for spec in fields(PolicyNodeParameters)}


@pytest.mark.parametrize(
    ('node', 'kind'), [('vla_adapter', PolicyNodeParameters), ('sim_arm', SimArmParameters)]
)
def test_annotated_file_shows_every_parameter_with_its_default(node, kind):
    shown = yaml.safe_load((CONFIG / 'alicia.yaml').read_text())[node]['ros__parameters']
    assert shown == {spec.name: spec.default for spec in fields(kind)}


def test_simulation_file_names_known_parameters_only():
    content = yaml.safe_load((CONFIG / 'alicia_sim.yaml').read_text())
    for node, kind in (('vla_adapter', PolicyNodeParameters), ('sim_arm', SimArmParameters)):
        assert set(content[node]['ros__parameters']) <= {spec.name for spec in fields(kind)}


def test_every_parameter_is_described():
    for spec in SPECS.values():
        assert len(spec.metadata['limits'].description) > 5, spec.name


@pytest.mark.parametrize(
    ('name', 'value', 'said'),
    [
        ('execute_steps', 2.5, 'got 2.5 (float), expected an integer'),
        ('execute_steps', True, 'got True (bool), expected an integer'),
        ('execute_steps', 65, 'got 65, expected 1 … 64'),
        ('max_skew', 'fast', "got 'fast' (str), expected a number"),
        ('enable', 'yes', "got 'yes' (str), expected true or false"),
        ('robot', None, 'got None (NoneType), expected a string'),
        ('dtype', 'float64', 'expected one of: auto, float32, bfloat16, int8'),
    ],
)
def test_wrong_values_are_refused_with_what_is_allowed(name, value, said):
    with pytest.raises(VLAAdapterError) as error:
        check_value(SPECS[name], value)
    assert str(error.value).startswith(f'parameter {name}: ')
    assert said in str(error.value)


def test_whole_numbers_are_accepted_for_numbers():
    value = check_value(SPECS['max_skew'], 1)
    assert value == 1.0 and isinstance(value, float)


def test_policy_is_known_or_a_class():
    check_policy('expert')
    check_policy('my_package.policies:Mine')
    with pytest.raises(VLAAdapterError, match='or package.module:Class'):
        check_policy('magic')
