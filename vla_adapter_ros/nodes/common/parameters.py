# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Node parameters as frozen dataclasses: type, default, description and limits in one place.

A bad value at start leaves a living node that says what is wrong, a bad change is refused with
what is allowed. Therefore the parameters have dynamic typing and are checked here: rclpy's own
type check throws in the constructor, and later says "expected '2' got '4'".
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import Field, fields
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from vla_adapter_ros.cameras.settings import Limits
from vla_adapter_ros.cameras.settings import setting as parameter
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.robot.sections import ROS_NAME_RULE, is_ros_name

__all__ = [
    'FRAME_PREFIX',
    'check_value',
    'declare_parameters',
    'describe_limits',
    'parameter',
    'read_parameters',
]

P = TypeVar('P')
FRAME_PREFIX = (
    'Put before the names of frames, as by robot_state_publisher: left/ makes left/base_link.'
)
_ROS_OWN_PREFIXES = ('use_sim_time', 'qos_overrides', 'start_type_description_service')


def declare_parameters(node: Node, kind: type, live: Collection[str] | None = None) -> None:
    """Declare every field of a parameter dataclass on a node; never raises for a bad value.

    From then on changes are checked, and none can be deleted.

    Args:
        node: made with `automatically_declare_parameters_from_overrides=True`, so that
            `read_parameters` can name a parameter that does not exist.
        kind: the dataclass.
        live: parameters that may change while the node runs; None: all.
    """
    specs = {spec.name: spec for spec in fields(kind)}
    for name, spec in specs.items():
        if not node.has_parameter(name):
            node.declare_parameter(name, spec.default, _descriptor(spec))
        else:
            _describe(node, spec)
    for name in _unknown(node, specs):
        # Who gave it can delete it again.
        node.set_descriptor(name, ParameterDescriptor(dynamic_typing=True))

    def check(changes: list[Parameter]) -> SetParametersResult:
        try:
            for change in changes:
                if change.name in specs:
                    _check_change(node, specs[change.name], change, live)
        except VLAAdapterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)


def _check_change(
    node: Node, spec: Field, change: Parameter, live: Collection[str] | None
) -> None:
    if change.type_ == Parameter.Type.NOT_SET:
        raise VLAAdapterError(f'parameter {spec.name} cannot be deleted; set it to another value')
    value = check_value(spec, change.value)
    # A whole parameter file may be loaded again.
    if live is None or spec.name in live or value == node.get_parameter(spec.name).value:
        return
    others = f'only {", ".join(live)} can change now' if live else 'none can change now'
    raise VLAAdapterError(f'{spec.name} takes effect at the next start of the node; {others}')


def _unknown(node: Node, specs: Mapping[str, Field]) -> list[str]:
    return [
        name
        for name in node.get_parameters_by_prefix('')
        if name not in specs and not name.startswith(_ROS_OWN_PREFIXES)
    ]


def read_parameters(node: Node, kind: type[P]) -> P:
    """Return validated parameters.

    Raises:
        VLAAdapterError: a value has the wrong type or range, is missing, or a name is unknown;
            names the parameter, the value and what is allowed.
    """
    specs = {spec.name: spec for spec in fields(kind)}
    for name in _unknown(node, specs):
        near = difflib.get_close_matches(name, specs, n=1)
        hint = f'did you mean {near[0]!r}? ' if near else ''
        allowed = ', '.join(sorted(specs))
        raise VLAAdapterError(
            f'parameter {name!r} is unknown; {hint}known parameters: {allowed}'
        )
    for name in specs:
        if not node.has_parameter(name):
            raise VLAAdapterError(f'parameter {name} was deleted; start the node again')
    return kind(**{
        name: check_value(spec, node.get_parameter(name).value) for name, spec in specs.items()
    })


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
    if limits.ros_name and value and not is_ros_name(value):
        raise VLAAdapterError(f'parameter {spec.name}: got {value!r}, {ROS_NAME_RULE}')
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


def _describe(node: Node, spec: Field) -> None:
    """Set the descriptor of a parameter that has a value, which may be out of range."""
    descriptor = _descriptor(spec)
    try:
        node.set_descriptor(spec.name, descriptor)
    except InvalidParameterValueException:
        descriptor.integer_range, descriptor.floating_point_range = [], []
        node.set_descriptor(spec.name, descriptor)


def _descriptor(spec: Field) -> ParameterDescriptor:
    limits: Limits = spec.metadata['limits']
    descriptor = ParameterDescriptor(
        description=limits.description,
        additional_constraints=describe_limits(spec),
        dynamic_typing=True,
    )
    if math.isfinite(limits.low) and math.isfinite(limits.high):
        # Tools show a slider.
        if isinstance(spec.default, int):
            whole = IntegerRange(from_value=int(limits.low), to_value=int(limits.high))
            descriptor.integer_range = [whole]
        else:
            span = FloatingPointRange(from_value=float(limits.low), to_value=float(limits.high))
            descriptor.floating_point_range = [span]
    return descriptor
