# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A layout for PlotJuggler: joints measured and commanded, latency, rates and ages of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from vla_adapter_ros.nodes.viewing.series import Series, joint_series
from vla_adapter_ros.robot.contract import RobotContract

_STREAMER = 'ROS2 Topic Subscriber'
# Longer arrays are not plotted; an action chunk has about a hundred values.
_MAX_ARRAY = 500
_COLOURS = ('#1f77b4', '#d62728', '#2ca02c', '#ff7f0e')
Plot = tuple[str, list[str]]


def plotjuggler_layout(contract: RobotContract, prefix: str) -> str:
    """Return the layout as XML, for live topics and for recorded bags.

    Args:
        contract: gives cameras, joints and command topics.
        prefix: before every name of a topic: '' or '/namespace'.
    """
    series = joint_series(contract)
    status, chunk = f'{prefix}/vla_adapter/status', f'{prefix}/vla_adapter/action_chunk'
    joints = [_joint(one, prefix) for one in series]
    speeds = [(s.name, [f'{prefix}/joint_states/{s.driver_name}/velocity']) for s in series]
    inputs = range(1 + len(contract.cameras))
    policy: list[Plot] = [
        ('state (3 is RUNNING)', [f'{status}/state', f'{status}/enabled']),
        ('latency [s]', [f'{status}/latency_p50', f'{status}/latency_p95']),
        ('age of joint states and images [s]', [f'{status}/input_ages[{i}]' for i in inputs]),
        ('rate of joint states and images [Hz]', [f'{status}/input_rates[{i}]' for i in inputs]),
    ]
    steps: list[Plot] = [
        (f'{s.name}, first step of the chunk', [f'{chunk}/actions[{s.index}]']) for s in series
    ]
    root = Element('root')
    tabs = SubElement(root, 'tabbed_widget', parent='main_window', name='Main Window')
    for name, plots in {
        'joints': joints, 'velocities': speeds, 'policy': policy, 'chunk': steps,
    }.items():  # fmt: skip
        _tab(tabs, name, plots)
    SubElement(tabs, 'currentTabIndex', index='0')
    SubElement(root, 'use_relative_time_offset', enabled='1')
    topics = [f'{prefix}/joint_states', status, chunk]
    topics += dict.fromkeys(f'{prefix}/{s.command_topic}' for s in series if s.command_topic)
    _subscription(root, topics)
    ElementTree.indent(root, ' ')
    return ElementTree.tostring(root, encoding='unicode', xml_declaration=True) + '\n'


def _joint(series: Series, prefix: str) -> Plot:
    curves = [f'{prefix}/joint_states/{series.driver_name}/position']
    if series.command_topic:
        topic = f'{prefix}/{series.command_topic}'
        curves.append(
            f'{topic}/points[0]/positions[{series.command_index}]'
            if series.trajectory
            else f'{topic}/{series.driver_name}/position'
        )
    return series.name, curves


def _tab(tabs: Element, name: str, plots: Sequence[Plot]) -> None:
    """Add a tab with its plots in two columns."""
    tab = SubElement(tabs, 'Tab', tab_name=name, containers='1')
    columns = _splitter(SubElement(tab, 'Container'), '|', 2)
    half = (len(plots) + 1) // 2
    for part in (plots[:half], plots[half:]):
        column = _splitter(columns, '-', len(part))
        for title, curves in part:
            area = SubElement(column, 'DockArea', name=title)
            plot = SubElement(
                area, 'plot', mode='TimeSeries', style='Lines', flip_x='false', flip_y='false'
            )
            SubElement(plot, 'limitY')
            for curve, colour in zip(curves, _COLOURS):
                SubElement(plot, 'curve', name=curve, color=colour)


def _splitter(parent: Element, orientation: str, count: int) -> Element:
    sizes = ';'.join([f'{1 / count:g}'] * count)
    return SubElement(
        parent, 'DockSplitter', orientation=orientation, count=str(count), sizes=sizes
    )


def _subscription(root: Element, topics: Sequence[str]) -> None:
    """Add the topics to which PlotJuggler subscribes when it takes the layout."""
    plugins = SubElement(root, 'Plugins')
    for plugin in ('DataLoad ROS2 bags', _STREAMER):
        element = SubElement(plugins, 'plugin', ID=plugin)
        SubElement(element, 'use_header_stamp', value='false')
        SubElement(element, 'boolean_strings_to_number', value='true')
        SubElement(element, 'max_array_size', value=str(_MAX_ARRAY))
        SubElement(element, 'selected_topics', value=';'.join(topics))
    SubElement(root, 'previouslyLoaded_Streamer', name=_STREAMER)
