# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Node parameters as frozen dataclasses: type, default, description and limits in one place.

Parameters are declared with dynamic typing and validated here, because rclpy's own type check
throws in the constructor and takes the node down. A bad value must leave a living node that says
what is wrong and refuses to configure.
"""

from __future__ import annotations

import math
from dataclasses import Field, fields
from typing import Any, TypeVar

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from vla_adapter_ros.cameras.settings import Limits
from vla_adapter_ros.cameras.settings import setting as parameter
from vla_adapter_ros.errors import VLAAdapterError

__all__ = ['check_value', 'declare_parameters', 'describe_limits', 'parameter', 'read_parameters']

P = TypeVar('P')
_ROS_OWN_PREFIXES = ('use_sim_time', 'qos_overrides', 'start_type_description_service')


def declare_parameters(node: Node, kind: type) -> None:
    """Declare every field of a parameter dataclass on a node; never raises for a bad value."""
    for spec in fields(kind):
        if not node.has_parameter(spec.name):
            node.declare_parameter(spec.name, spec.default, _descriptor(spec))
        else:
            node.set_descriptor(spec.name, _descriptor(spec))


def read_parameters(node: Node, kind: type[P]) -> P:
    """Return validated parameters.

    Raises:
        VLAAdapterError: a value has the wrong type or range, or a name is unknown; names the
            parameter, the value and what is allowed.
    """
    known = {spec.name for spec in fields(kind)}
    for name in node.get_parameters_by_prefix(''):
        if name not in known and not name.startswith(_ROS_OWN_PREFIXES):
            allowed = ', '.join(sorted(known))
            raise VLAAdapterError(f'parameter {name!r} is unknown; known parameters: {allowed}')
    values = {spec.name: check_value(spec, node.get_parameter(spec.name).value)
              for spec in fields(kind)}
    return kind(**values)


def check_value(spec: Field, value: Any) -> Any:
    """Return a value of the field's type, or raise VLAAdapterError saying what is allowed."""
    limits: Limits = spec.metadata['limits']
    wanted = type(spec.default)
    # YAML writes 1 for 1.0; the reverse (1.5 for an integer) and bools for numbers are mistakes.
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        raise VLAAdapterError(
            f'parameter {spec.name}: got {value!r} ({type(value).__name__}),'
            f' expected {_TYPE_NAMES[wanted]}'
        )
    if limits.choices and value not in limits.choices:
        choices = ', '.join(limits.choices)
        raise VLAAdapterError(f'parameter {spec.name}: got {value!r}, expected one of: {choices}')
    if wanted in (int, float) and not limits.low <= value <= limits.high:
        raise VLAAdapterError(
            f'parameter {spec.name}: got {value!r}, expected {limits.low:g} … {limits.high:g}'
        )
    return value


_TYPE_NAMES = {bool: 'true or false', int: 'an integer', float: 'a number', str: 'a string'}


def describe_limits(spec: Field) -> str:
    """Return a description of the allowed values of a parameter field; '' for any."""
    limits: Limits = spec.metadata['limits']
    if limits.low > -math.inf or limits.high < math.inf:
        return f'{limits.low:g} … {limits.high:g}'
    return f'one of: {", ".join(limits.choices)}' if limits.choices else ''


def _descriptor(spec: Field) -> ParameterDescriptor:
    return ParameterDescriptor(
        description=spec.metadata['limits'].description,
        additional_constraints=describe_limits(spec),
        dynamic_typing=True,
    )
