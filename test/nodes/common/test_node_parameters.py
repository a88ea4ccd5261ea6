# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Node parameters: one dataclass is type, default, limits and text; the YAML file agrees."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.common.parameters import (
    check_value,
    declare_parameters,
    parameter,
    read_parameters,
)
from vla_adapter_ros.nodes.policy.policy_parameters import PolicyNodeParameters, check_policy
from vla_adapter_ros.nodes.simulation.sim_arm_node import SimArmParameters

CONFIG = Path(__file__).resolve().parents[3] / 'config'
SPECS = {spec.name: spec for spec in fields(PolicyNodeParameters)}


@pytest.mark.parametrize(
    ('node', 'kind'), [('vla_adapter', PolicyNodeParameters), ('sim_arm', SimArmParameters)]
)
def test_annotated_file_shows_every_parameter_with_its_default(node, kind):
    content = yaml.safe_load((CONFIG / 'alicia.yaml').read_text())
    shown = content[f'/**/{node}']['ros__parameters']
    assert shown == {spec.name: spec.default for spec in fields(kind)}


def test_simulation_file_names_known_parameters_only():
    content = yaml.safe_load((CONFIG / 'alicia_sim.yaml').read_text())
    for node, kind in (('vla_adapter', PolicyNodeParameters), ('sim_arm', SimArmParameters)):
        values = content[f'/**/{node}']['ros__parameters']
        assert set(values) <= {spec.name for spec in fields(kind)}


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
        ('dtype', 'float64', 'expected one of: auto, float32, bfloat16, float16, int8'),
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


@dataclass(frozen=True)
class Small:
    """Parameters of the nodes below."""

    topic: str = parameter('image', 'A topic.', ros_name=True)
    width: int = parameter(640, 'Pixels.', low=16, high=8192)
    rate: float = parameter(30.0, 'Hz.', low=1.0, high=300.0)
    on: bool = parameter(False, 'Whether.')


@pytest.fixture
def make():
    """make('-p', 'width:=5', live=…) → a node with the parameters above."""
    context, nodes = Context(), []
    rclpy.init(context=context, domain_id=0)

    def make(*words, live=None):
        nodes.append(Node(
            'small', context=context, cli_args=['--ros-args', *words],
            automatically_declare_parameters_from_overrides=True,
        ))  # fmt: skip
        declare_parameters(nodes[-1], Small, live)
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.shutdown()


def change(node, **values):
    results = node.set_parameters([Parameter(n, value=v) for n, v in values.items()])
    return [result.reason for result in results]


def delete(node, name):
    return node.set_parameters([Parameter(name, Parameter.Type.NOT_SET)])[0]


def test_no_parameter_can_be_deleted(make):
    node = make('-p', 'width:=wide')
    for spec in fields(Small):
        assert not delete(node, spec.name).successful
    assert delete(node, 'rate').reason == (
        'parameter rate cannot be deleted; set it to another value'
    )
    change(node, width=320)
    assert read_parameters(node, Small) == Small(width=320)


def test_a_missing_parameter_is_a_sentence(make):
    node = make()
    node.undeclare_parameter('rate')
    with pytest.raises(VLAAdapterError, match='parameter rate was deleted; start the node again'):
        read_parameters(node, Small)


# Of rclpy, which knows the range from the descriptor, or of this package.
OUT_OF_RANGE = '(?i)parameter width(: got 5, expected 16 … 8192| out of range. Min: 16, Max: 8192)'


@pytest.mark.parametrize('start', [(), ('-p', 'width:=5', '-p', 'rate:=fast', '-p', 'on:=1')])
def test_bad_changes_are_refused_with_what_is_allowed(make, start):
    node = make(*start)
    for name, value, said in (
        ('width', 5, OUT_OF_RANGE),
        ('rate', 0, 'parameter rate: got 0.0, expected 1 … 300'),
        ('rate', 'fast', r"parameter rate: got 'fast' \(str\), expected a number"),
        ('topic', 'my topic', "parameter topic: got 'my topic', expected a ROS name: letters"),
    ):
        assert re.match(said, change(node, **{name: value})[0])
    assert change(node, width=160, rate=15, on=True, topic='wrist/image') == [''] * 4
    assert read_parameters(node, Small) == Small('wrist/image', 160, 15.0, True)


def test_an_unknown_parameter_is_named_with_a_suggestion_and_can_be_deleted(make):
    node = make('-p', 'widht:=320')
    with pytest.raises(VLAAdapterError) as error:
        read_parameters(node, Small)
    assert str(error.value) == (
        "parameter 'widht' is unknown; did you mean 'width'?"
        ' known parameters: on, rate, topic, width'
    )
    assert delete(node, 'widht').successful
    assert read_parameters(node, Small) == Small()


def test_what_cannot_change_now_says_when_it_takes_effect(make):
    node = make(live=('rate',))
    assert change(node, rate=10.0, width=640) == ['', '']
    assert change(node, width=320) == [
        'width takes effect at the next start of the node; only rate can change now'
    ]
    assert read_parameters(node, Small) == Small(rate=10.0)
