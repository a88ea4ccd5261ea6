# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The user of a policy node: calls its services and listens to what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from vla_adapter_ros.msg import ActionChunk, PolicyStatus
from vla_adapter_ros.nodes.common.messages import EVERY, LATCHED, to_seconds
from vla_adapter_ros.srv import SetInstruction


@dataclass(frozen=True)
class PolicyReport:
    """The policy node's entries in /diagnostics.

    Attributes:
        chunks: chunks the policy gave since the node was configured.
        accepted: those that became motion.
        waiting: the problem with the inputs, '' if all are fresh.
    """

    chunks: int
    accepted: int
    waiting: str


class PolicyClient(Node):
    """Talks to the node `vla_adapter`; what it hears last is in the attributes.

    Attributes:
        status: last `~/status`, or None.
        reports: number of reports so far.
        report: the last one, or None.
        inference: seconds of each inference since `forget`.
        heartbeat: time [s] up to which the node has acted, or None before it is active.
    """

    def __init__(self, policy_node: str = 'vla_adapter') -> None:
        super().__init__('evaluation')
        # As the node is called in /diagnostics.
        self._name = f'{self.get_namespace()}/{policy_node}'.lstrip('/')
        self.status: PolicyStatus | None = None
        self.report: PolicyReport | None = None
        self.reports = 0
        self.inference: list[float] = []
        self.heartbeat: float | None = None
        self.create_subscription(Header, f'{policy_node}/heartbeat', self._on_heartbeat, EVERY)
        self.create_subscription(PolicyStatus, f'{policy_node}/status', self._on_status, LATCHED)
        self.create_subscription(ActionChunk, f'{policy_node}/action_chunk', self._on_chunk, EVERY)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, EVERY)
        self._change_state = self.create_client(ChangeState, f'{policy_node}/change_state')
        self._set_instruction = self.create_client(SetInstruction, 'set_instruction')
        self._enable = self.create_client(SetBool, f'{policy_node}/enable')
        self._clear_trip = self.create_client(Trigger, f'{policy_node}/clear_trip')
        # The last one: see lifecycle_client.wait_until_connected.
        self.get_state = self.create_client(GetState, f'{policy_node}/get_state')

    def activate(self) -> Future:
        """Ask the node to activate."""
        return self._transition(Transition.TRANSITION_ACTIVATE)

    def deactivate(self) -> Future:
        """Ask the node to deactivate: it holds the arm and stops listening."""
        return self._transition(Transition.TRANSITION_DEACTIVATE)

    def set_instruction(self, text: str) -> Future:
        """Call /set_instruction."""
        return self._set_instruction.call_async(SetInstruction.Request(instruction=text))

    def enable(self) -> Future:
        """Ask the node to allow motion."""
        return self._enable.call_async(SetBool.Request(data=True))

    def clear_trip(self) -> Future:
        """Ask the node to forget a trip."""
        return self._clear_trip.call_async(Trigger.Request())

    def forget(self) -> None:
        """Forget reports and inference times: another episode begins."""
        self.report = self.heartbeat = None
        self.inference = []

    def _transition(self, transition: int) -> Future:
        request = ChangeState.Request(transition=Transition(id=transition))
        return self._change_state.call_async(request)

    def _on_status(self, message: PolicyStatus) -> None:
        self.status = message

    def _on_heartbeat(self, message: Header) -> None:
        self.heartbeat = to_seconds(message.stamp)

    def _on_chunk(self, message: ActionChunk) -> None:
        latencies = dict(zip(message.latency_names, message.latencies, strict=True))
        self.inference.append(latencies.get('total', float(np.nan)))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        own = {
            status.name.removeprefix(f'{self._name}: '): status
            for status in message.status
            if status.name.startswith(f'{self._name}: ')
        }
        policy = own.pop('policy', None)
        if policy is None:
            return
        values = {entry.key: entry.value for entry in policy.values}
        late = [s.message for s in own.values() if s.level != DiagnosticStatus.OK]
        self.reports += 1
        self.report = PolicyReport(
            chunks=int(values['chunks']),
            accepted=int(values['chunks accepted']),
            waiting='' if own and not late else '; '.join(late) or 'no inputs',
        )
