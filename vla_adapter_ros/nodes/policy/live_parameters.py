# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The parameters of the policy node that may change while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from vla_adapter_ros.control.loop import ControlLoop
from vla_adapter_ros.control.observation_inputs import InputSettings
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.common.parameters import read_parameters
from vla_adapter_ros.nodes.policy.policy_parameters import (
    LIVE_PARAMETERS,
    PolicyNodeParameters,
    check_times,
)
from vla_adapter_ros.processing.prompt import clean_instruction


def input_settings(parameters: PolicyNodeParameters) -> InputSettings:
    """Return how old inputs may be."""
    return InputSettings(
        parameters.max_image_age, parameters.max_joint_state_age, parameters.max_skew
    )


class LiveParameters:
    """Refuses changes that cannot take effect now, and applies the others.

    They are applied after the request, not in its callback: another callback may refuse it still.

    Args:
        node: `vla_adapter`; its parameters are declared.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._changed = False
        self._instruct = False
        self._clean: Callable[[str], str] = clean_instruction  # of the policy, once it runs

    def check(self, changes: Sequence[Parameter], running: str) -> SetParametersResult:
        """Return whether changes are allowed now.

        Args:
            changes: of one request; their values are valid.
            running: why the instruction cannot change now, or ''.
        """
        # The instruction counts even if it is as before: the service may have set another since.
        own = {
            change.name: change.value
            for change in changes
            if change.name == 'instruction'
            or change.value != self._node.get_parameter(change.name).value
        }
        own.pop('use_sim_time', None)
        if reason := self._refusal(own, running):
            return SetParametersResult(successful=False, reason=reason)
        self._changed = True
        self._instruct = self._instruct or bool(own.get('instruction'))
        return SetParametersResult(successful=True)

    def _refusal(self, changes: dict[str, Any], running: str) -> str:
        for name in changes:
            if name not in LIVE_PARAMETERS:
                return f'{name} takes effect at configure: deactivate and clean up the node first'
        try:
            check_times(replace(read_parameters(self._node, PolicyNodeParameters), **changes))
            if instruction := changes.get('instruction'):
                self._clean(instruction)
                return running
        except VLAAdapterError as error:
            return str(error)
        return ''

    def begin(self, loop: ControlLoop, now: float) -> str:
        """Apply all to a loop that is activated now; returns the instruction."""
        self._changed = self._instruct = False
        self._clean = loop.clean_instruction
        parameters = read_parameters(self._node, PolicyNodeParameters)
        self._apply(parameters, loop, now)
        return parameters.instruction

    def follow(self, loop: ControlLoop, now: float) -> None:
        """Apply what has changed since the last call."""
        if not self._changed:
            return
        self._changed = False
        parameters = read_parameters(self._node, PolicyNodeParameters)
        self._apply(parameters, loop, now)
        if self._instruct:
            self._instruct = False
            loop.set_instruction(parameters.instruction, now)

    def _apply(self, parameters: PolicyNodeParameters, loop: ControlLoop, now: float) -> None:
        loop.set_dry_run(parameters.dry_run, now)
        loop.inputs.set_limits(input_settings(parameters))
        loop.scheduler.speed_scale = parameters.speed_scale
        loop.scheduler.max_chunk_age = parameters.max_chunk_age
        loop.scheduler.execute_steps = parameters.execute_steps
