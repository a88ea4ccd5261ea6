# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A layout for Foxglove: scene, cameras, state, joints as measured and commanded, the chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vla_adapter_ros.nodes.viewing.series import Series, joint_series
from vla_adapter_ros.robot.contract import RobotContract

Panel = dict[str, Any]
_MEASURED, _COMMANDED, _CHUNK = '#4e98e2', '#f5774d', '#6bd66b'


def foxglove_layout(contract: RobotContract, prefix: str) -> dict[str, Any]:
    """Return the layout, as Foxglove imports it.

    Args:
        contract: gives cameras, joints and command topics.
        prefix: before every name of a topic: '' or '/namespace'.
    """
    policy = f'{prefix}/vla_adapter'
    status, chunk = f'{policy}/status', f'{policy}/action_chunk'
    images = {f'Image!{camera}': _image(f'{prefix}/{camera}/image') for camera in contract.cameras}
    joints = {f'Plot!{s.name}': _joint(s, contract, prefix) for s in joint_series(contract)}
    panels: dict[str, Panel] = {
        **images,
        '3D!scene': _scene(contract, prefix),
        'StateTransitions!state': _states(status),
        'RawMessages!reason': {'topicPath': f'{status}.reason', 'foxglovePanelTitle': 'reason'},
        **joints,
        'Plot!latency': _plot(
            'latency [s]', [_path(f'{status}.latency_p50', 'median', _MEASURED),
                            _path(f'{status}.latency_p95', '95 %', _COMMANDED)],
        ),
        'RawMessages!chunk': {'topicPath': chunk, 'foxglovePanelTitle': 'chunk'},
        'DiagnosticSummary!all': {'topicToRender': '/diagnostics', 'minLevel': 0},
    }  # fmt: skip
    plots = [*joints, 'Plot!latency']
    half = (len(plots) + 1) // 2
    left = _stack('column', [_stack('row', list(images)), '3D!scene', 'DiagnosticSummary!all'])
    top = _stack('row', ['StateTransitions!state', 'RawMessages!reason'])
    grid = _stack('row', [_stack('column', plots[:half]), _stack('column', plots[half:])])
    right: Panel = {
        'direction': 'column', 'first': top, 'second': grid, 'splitPercentage': 18,
    }  # fmt: skip
    return {
        'configById': panels,
        'globalVariables': {},
        'userNodes': {},
        'playbackConfig': {'speed': 1},
        'layout': {
            'direction': 'row', 'splitPercentage': 40, 'first': left,
            'second': {
                'direction': 'row', 'splitPercentage': 78, 'first': right,
                'second': 'RawMessages!chunk',
            },
        },
    }  # fmt: skip


def _image(topic: str) -> Panel:
    return {'imageMode': {'imageTopic': topic}, 'foxglovePanelTitle': topic}


def _scene(contract: RobotContract, prefix: str) -> Panel:
    shown = (f'{prefix}/vla_adapter/plan_path', f'{prefix}/objects')
    return {
        'followMode': 'follow-none',
        'followTf': contract.kinematics.base if contract.kinematics else 'base_link',
        'cameraState': {
            'perspective': True, 'distance': 1.4, 'phi': 60, 'thetaOffset': 60,
            'target': [0.2, 0, 0.15], 'targetOffset': [0, 0, 0],
            'targetOrientation': [0, 0, 0, 1], 'fovy': 45, 'near': 0.01, 'far': 100,
        },
        'topics': {topic: {'visible': True} for topic in shown},
        'layers': {
            'grid': {
                'layerId': 'foxglove.Grid', 'instanceId': 'grid', 'label': 'Table',
                'visible': True, 'size': 2, 'divisions': 20,
            },
            'arm': {
                'layerId': 'foxglove.Urdf', 'instanceId': 'arm', 'label': 'Arm',
                'visible': True, 'sourceType': 'topic',
                'topic': f'{prefix}/vla_adapter/robot_description',
            },
        },
    }  # fmt: skip


def _states(status: str) -> Panel:
    fields = {'state_text': 'state', 'executing_instruction': 'instruction', 'enabled': 'enabled'}
    paths = [
        {'value': f'{status}.{field}', 'label': label, 'timestampMethod': 'receiveTime'}
        for field, label in fields.items()
    ]
    return {'paths': paths, 'isSynced': True}


def _joint(series: Series, contract: RobotContract, prefix: str) -> Panel:
    measured = f'{prefix}/joint_states.position[{series.index}]'
    paths = [_path(measured, 'measured', _MEASURED)]
    if series.command_topic:
        row = '.points[0].positions' if series.trajectory else '.position'
        topic = f'{prefix}/{series.command_topic}'
        paths.append(_path(f'{topic}{row}[{series.command_index}]', 'commanded', _COMMANDED))
    if contract.action_space == 'joint_position' and series.index < len(contract.names) - 1:
        # The gripper of a chunk is an open fraction, not in the driver's units.
        chunk = f'{prefix}/vla_adapter/action_chunk.actions[{series.index}]'
        paths.append(_path(chunk, 'chunk, first step', _CHUNK))
    return _plot(series.name, paths)


def _path(value: str, label: str, color: str) -> dict[str, Any]:
    return {
        'value': value, 'label': label, 'color': color, 'enabled': True,
        'timestampMethod': 'receiveTime',
    }  # fmt: skip


def _plot(title: str, paths: Sequence[dict[str, Any]]) -> Panel:
    return {
        'paths': list(paths), 'foxglovePanelTitle': title, 'xAxisVal': 'timestamp',
        'followingViewWidth': 20, 'isSynced': True, 'showLegend': True,
        'legendDisplay': 'floating', 'showXAxisLabels': True, 'showYAxisLabels': True,
    }  # fmt: skip


def _stack(direction: str, panels: Sequence[str | Panel]) -> str | Panel:
    """Return panels side by side (row) or below each other (column), of the same size."""
    if len(panels) == 1:
        return panels[0]
    return {
        'direction': direction, 'first': panels[0], 'second': _stack(direction, panels[1:]),
        'splitPercentage': 100 / len(panels),
    }  # fmt: skip
