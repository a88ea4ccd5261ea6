# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""launch/record.launch.py with the real launch; its arguments are the node's parameters."""

from __future__ import annotations

import importlib.util
from dataclasses import fields
from pathlib import Path

import pytest

launch = pytest.importorskip('launch', reason='launch is not installed (PyPI has none)')
pytest.importorskip('launch_ros', reason='launch_ros is not installed (PyPI has none)')

from launch.actions import DeclareLaunchArgument  # noqa: E402
from launch.utilities import perform_substitutions  # noqa: E402

from vla_adapter_ros.nodes.recording.recorder_parameters import RecorderParameters  # noqa: E402

FILE = Path(__file__).resolve().parents[2] / 'launch' / 'record.launch.py'


def load():
    spec = importlib.util.spec_from_file_location('record_launch', FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_arguments_are_parameters_of_the_node():
    module = load()
    assert set(module.PARAMETERS) <= {field.name for field in fields(RecorderParameters)}
    declared = [
        entity
        for entity in module.generate_launch_description().entities
        if isinstance(entity, DeclareLaunchArgument)
    ]
    assert {a.name for a in declared} == {*module.PARAMETERS, *module.TOPICS, *module.OTHERS}
    assert all(argument.description for argument in declared)


def test_topics_are_remapped_raw_and_compressed():
    module = load()
    context = launch.LaunchContext()
    for name, (default, _) in (module.PARAMETERS | module.TOPICS | module.OTHERS).items():
        context.launch_configurations[name] = default
    context.launch_configurations['wrist_topic'] = '/hand/color'
    (node,) = module.start_recorder(context)
    remapped = {
        tuple(perform_substitutions(context, list(part)) for part in pair)
        for pair in node._Node__remappings
    }
    assert remapped == {
        ('wrist/image', '/hand/color'),
        ('wrist/image/compressed', '/hand/color/compressed'),
    }
