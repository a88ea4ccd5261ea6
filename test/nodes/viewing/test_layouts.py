# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Layouts of Foxglove and PlotJuggler: every topic and field in them exists."""

from __future__ import annotations

import json

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')

from support.viewer_fields import (
    TOPICS,
    URDF,
    foxglove_texts,
    in_namespace,
    plotjuggler_texts,
    resolve,
)
from vla_adapter_ros.nodes.common.dds_profile import shipped_config
from vla_adapter_ros.nodes.viewing import layouts
from vla_adapter_ros.nodes.viewing.foxglove import foxglove_layout
from vla_adapter_ros.nodes.viewing.plotjuggler import plotjuggler_layout
from vla_adapter_ros.robot.contract import resolve_contract

NUMBERS = {'double', 'float', 'uint8', 'uint32', 'uint64', 'boolean'}
SHIPPED = [('alicia', 'alicia_d', ''), ('alicia_sim', 'alicia_d_sim', '/sim')]


def panels_in(mosaic) -> list[str]:
    if isinstance(mosaic, str):
        return [mosaic]
    return panels_in(mosaic['first']) + panels_in(mosaic['second'])


@pytest.mark.parametrize(('name', 'robot', 'prefix'), SHIPPED)
def test_shipped_layouts_are_those_that_the_command_makes(name, robot, prefix, tmp_path, capsys):
    arguments = [str(tmp_path), '--robot', robot, '--namespace', prefix, '--name', name]
    assert layouts.main(arguments) == 0
    for line in capsys.readouterr().out.splitlines():
        made = tmp_path / line.rsplit('/', 1)[1]
        assert made.read_bytes() == shipped_config(f'viewers/{made.name}').read_bytes(), line


@pytest.mark.parametrize(('name', 'robot', 'prefix'), SHIPPED)
def test_every_field_that_foxglove_shows_exists(name, robot, prefix):
    layout = json.loads(shipped_config(f'viewers/{name}.foxglove.json').read_text())
    topics = in_namespace(prefix, {**TOPICS, **URDF})
    shown = {text: resolve(text, topics, '.') for text in foxglove_texts(layout)}
    assert {topic for topic, _ in shown.values()} == set(topics), 'nothing is left out'
    plotted = [
        path['value']
        for panel, settings in layout['configById'].items() if panel.startswith('Plot!')
        for path in settings['paths']
    ]  # fmt: skip
    assert {shown[value][1] for value in plotted} <= NUMBERS
    assert sorted(panels_in(layout['layout'])) == sorted(layout['configById'])


@pytest.mark.parametrize(('name', 'robot', 'prefix'), SHIPPED)
def test_every_curve_of_plotjuggler_exists(name, robot, prefix):
    text = shipped_config(f'viewers/{name}.plotjuggler.xml').read_text()
    curves, selected = plotjuggler_texts(text)
    shown = [resolve(curve, in_namespace(prefix), '/') for curve in curves]
    assert {topic for topic, _ in shown} == selected, 'it subscribes to what it plots'
    assert {kind for _, kind in shown} <= NUMBERS
    assert len(set(curves)) == len(curves) > 20


def test_a_field_that_is_not_there_is_found_out():
    topics = in_namespace('')
    for text in ('/vla_adapter/status.latency', '/joint_states.positions[0]'):
        with pytest.raises(KeyError):
            resolve(text, topics, '.')


@pytest.mark.parametrize('robot', ['piper', 'franka'])
def test_other_robots_and_namespaces_have_layouts(robot):
    contract = resolve_contract(robot)
    curves, selected = plotjuggler_texts(plotjuggler_layout(contract, '/left'))
    second = contract.driver_names[1]
    assert f'/left/joint_states/{second}/position' in curves
    arm = f'/left/{contract.front_end.arm_topic}'
    assert arm in selected
    streamed = contract.front_end.kind == 'joint_commands'
    end = f'{second}/position' if streamed else 'points[0]/positions[1]'
    assert f'{arm}/{end}' in curves
    texts = list(foxglove_texts(foxglove_layout(contract, '/left')))
    assert {f'/left/{camera}/image' for camera in contract.cameras} <= set(texts)
    assert f'{arm}{".position[1]" if streamed else ".points[0].positions[1]"}' in texts
    assert all(text.startswith('/left/') or text == '/diagnostics' for text in texts)


def test_a_name_that_is_none_is_refused(tmp_path, capsys):
    assert layouts.main([str(tmp_path / 'a'), '--namespace', '2 arms']) == 1
    assert "--namespace '2 arms': expected a ROS name" in capsys.readouterr().out
    assert layouts.main([str(tmp_path / 'a'), '--robot', 'no_such']) == 1
    assert not (tmp_path / 'a').exists()
