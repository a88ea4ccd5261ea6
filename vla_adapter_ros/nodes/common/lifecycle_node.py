# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A lifecycle node that answers every request for a transition, on every distribution."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn


class AnsweringLifecycleNode(LifecycleNode):
    """Refuses a transition that does not fit the present state, and stays in it.

    Before rclpy 8 (Humble, Jazzy) such a request raises RCLError out of the service callback
    (ros2/rclpy#1209): the client never gets an answer, and a running node takes the exception for
    a fault of its own. A second launch file, a lifecycle manager or rqt sends such requests.
    """

    # The method that rclpy calls, by its mangled name: there is no public hook.
    def _LifecycleNodeMixin__change_state(self, transition_id: int) -> TransitionCallbackReturn:
        possible = {found[0]: found[1] for found in self._state_machine.available_transitions}
        if transition_id in possible:
            return super()._LifecycleNodeMixin__change_state(transition_id)
        state = self._state_machine.current_state[1]
        self.get_logger().warning(
            f'transition {transition_id} refused in state {state}; possible now: '
            + ', '.join(f'{label} ({number})' for number, label in possible.items())
        )
        return TransitionCallbackReturn.FAILURE
