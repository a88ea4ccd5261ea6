# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the configurations of viewers show: topics, and fields of their messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray
from vla_adapter_ros.msg import ActionChunk, PolicyStatus

# Relative names; what publishes the URDF is not ours.
TOPICS: dict[str, type] = {
    'third_person/image': Image,
    'wrist/image': Image,
    'joint_states': JointState,
    'Alicia_controller/joint_trajectory': JointTrajectory,
    'Gripper_controller/joint_trajectory': JointTrajectory,
    'vla_adapter/status': PolicyStatus,
    'vla_adapter/action_chunk': ActionChunk,
    'vla_adapter/plan_path': Marker,
    'objects': MarkerArray,
    '/diagnostics': DiagnosticArray,
}
URDF = {'vla_adapter/robot_description': String}
_FIELD = re.compile(r'([a-z_0-9]+)((?:\[\d+\])?)')


def in_namespace(prefix: str, topics: Mapping[str, type] = TOPICS) -> dict[str, type]:
    """Topics with absolute names."""
    return {name if name[0] == '/' else f'{prefix}/{name}': kind for name, kind in topics.items()}


def type_name(kind: type) -> str:
    """As the graph names it, e.g. sensor_msgs/msg/Image."""
    return f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'


def foxglove_texts(layout: Mapping[str, Any]) -> Iterator[str]:
    """Every text of a Foxglove layout that begins with the name of a topic."""
    for key, value in layout.items():
        if key == 'topics':
            yield from value
        elif isinstance(value, Mapping):
            yield from foxglove_texts(value)
        elif isinstance(value, list):
            for entry in value:
                yield from foxglove_texts(entry) if isinstance(entry, Mapping) else ()
        elif isinstance(value, str) and value.startswith('/') and key != 'foxglovePanelTitle':
            yield value


def plotjuggler_texts(text: str) -> tuple[list[str], set[str]]:
    """Curves of a PlotJuggler layout, and topics it subscribes to."""
    root = ElementTree.fromstring(text)
    selected = [element.get('value', '') for element in root.iter('selected_topics')]
    assert len(set(selected)) == 1
    return [curve.get('name', '') for curve in root.iter('curve')], set(selected[0].split(';'))


def resolve(text: str, topics: Mapping[str, type], separator: str) -> tuple[str, str]:
    """Return topic and type of the field of a text; fails if there is none of this name.

    Args:
        text: topic and fields, e.g. /joint_states.position[0].
        topics: absolute names.
        separator: between the parts.
    """
    topic = max((t for t in topics if text == t or text.startswith(t + separator)), key=len)
    parts = text[len(topic) :].split(separator)[1:]
    kind: Any = topics[topic]
    if separator == '/' and kind is JointState:
        # PlotJuggler puts the name of a joint first.
        assert parts.pop(0) in [*(f'Joint{i}' for i in range(1, 7)), 'Gripper']
        parts = [f'{parts[0]}[0]']
    found = type_name(kind)
    for part in parts:
        name, index = _FIELD.fullmatch(part).groups()
        found = kind.get_fields_and_field_types()[name]
        if index:
            assert found.startswith('sequence<'), f'{text}: {name} is no array'
            found = found[9:-1]
        if '/' in found:
            module, _, leaf = found.partition('/')
            kind = getattr(__import__(f'{module}.msg', fromlist=['msg']), leaf)
    return topic, found
