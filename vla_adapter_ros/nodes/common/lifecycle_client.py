# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Bring a lifecycle node to ACTIVE through its services, as `ros2 launch` does."""

from __future__ import annotations

import time
from collections.abc import Callable

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

_POLL_PERIOD_S = 0.1
_RETRY_PERIOD_S = 1.0
_STEPS = (
    ('configure', Transition.TRANSITION_CONFIGURE),
    ('activate', Transition.TRANSITION_ACTIVATE),
)


def configure_and_activate(
    full_name: str, timeout: float, ended: Callable[[], str] = lambda: ''
) -> str:
    """Configure, then activate a node.

    Args:
        full_name: of the node, with its namespace, e.g. `/vla_adapter`.
        timeout: for both transitions together [s].
        ended: says why waiting is hopeless ('' while it is not).

    Returns:
        '' on success, otherwise what went wrong, in one line.
    """
    # A context of its own: the caller may have one, or none.
    context = Context()
    rclpy.init(args=[], context=context)
    node = rclpy.create_node('bringup', context=context)
    try:
        return _run_steps(node, context, full_name, time.monotonic() + timeout, ended)
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def _run_steps(
    node: Node, context: Context, full_name: str, deadline: float, ended: Callable[[], str]
) -> str:
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    # In this order: see wait_until_connected.
    change_state = node.create_client(ChangeState, f'{full_name}/change_state')
    get_state = node.create_client(GetState, f'{full_name}/get_state')

    def give_up(doing: str) -> str:
        if why := ended():
            return why
        return f'{full_name} did not {doing} in time' if time.monotonic() > deadline else ''

    if why := wait_until_connected(get_state, executor, give_up):
        return why
    for step, transition in _STEPS:
        request = ChangeState.Request(transition=Transition(id=transition))
        future = change_state.call_async(request)
        while not future.done():
            executor.spin_once(_POLL_PERIOD_S)
            if not future.done() and (why := give_up(step)):
                return why
        if not future.result().success:
            return f'{full_name} did not {step}'
    return ''


def wait_until_connected(
    get_state: Client, executor: SingleThreadedExecutor, give_up: Callable[[str], str]
) -> str:
    """Repeat a harmless request until it is answered; returns '' or why there was no answer.

    A service counts as available when half of the connection stands, and an answer sent before
    the other half does is lost forever. Discovery keeps the order in which endpoints were made,
    on both sides, so an answer here means that the earlier change_state is connected too.
    """
    future = None
    asked = 0.0
    while future is None or not future.done():
        if get_state.service_is_ready() and time.monotonic() - asked > _RETRY_PERIOD_S:
            if future is not None:
                get_state.remove_pending_request(future)
            future, asked = get_state.call_async(GetState.Request()), time.monotonic()
        executor.spin_once(_POLL_PERIOD_S)
        if (future is None or not future.done()) and (why := give_up('offer its services')):
            return why
    return ''
