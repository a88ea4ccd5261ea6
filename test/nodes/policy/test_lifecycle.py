# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The policy node in this process: unfit requests, failures in transitions, what they leave."""

from __future__ import annotations

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.lifecycle.node import LifecycleNodeMixin
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool
from vla_adapter_ros.srv import SetInstruction

from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.nodes.common.messages import chunk_message
from vla_adapter_ros.nodes.policy.policy_node import PolicyNode

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


@pytest.fixture(scope='module')
def ros():
    rclpy.init(args=['--ros-args', '-p', 'policy:=hold'])
    yield
    rclpy.try_shutdown()


@pytest.fixture
def node(ros):
    node = PolicyNode()
    yield node
    node.close()
    node.destroy_node()


def state(node):
    return node._state_machine.current_state[1]


def request(node, transition):
    """What a client of ~/change_state gets."""
    message = ChangeState.Request(transition=Transition(id=transition))
    return node._LifecycleNodeMixin__on_change_state(message, ChangeState.Response()).success


def resources(node):
    return len(list(node.subscriptions)), len(list(node.timers)), len(list(node.publishers))


def call(node, name, kind, **values):
    service = next(s for s in node.services if s.srv_name.endswith(name))
    return service.callback(kind.Request(**values), kind.Response())


def enable(node):
    return call(node, 'enable', SetBool, data=True)


def set_instruction(node):
    return call(node, 'set_instruction', SetInstruction, instruction='stack')


def fail(*_, **__):
    raise RuntimeError('middleware gone')


def raise_as_before_rclpy_8(monkeypatch):
    """Let the C library's error out of the service, as on Humble and Jazzy."""
    good = LifecycleNodeMixin._LifecycleNodeMixin__change_state

    def change_state(self, transition):
        if transition not in {known[0] for known in self._state_machine.available_transitions}:
            raise RuntimeError('Failed to trigger lifecycle state machine transition')
        return good(self, transition)

    monkeypatch.setattr(LifecycleNodeMixin, '_LifecycleNodeMixin__change_state', change_state)


@pytest.mark.parametrize('old', [False, True], ids=['rclpy 8', 'before rclpy 8'])
def test_an_unfit_transition_is_answered_and_changes_nothing(node, monkeypatch, old):
    if old:
        raise_as_before_rclpy_8(monkeypatch)
    assert not request(node, Transition.TRANSITION_ACTIVATE)
    assert state(node) == 'unconfigured'
    assert request(node, Transition.TRANSITION_CONFIGURE)
    assert request(node, Transition.TRANSITION_ACTIVATE)
    warnings = []
    monkeypatch.setattr(node.get_logger(), 'warning', warnings.append)
    for unfit in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP, 99):
        assert not request(node, unfit)
    assert state(node) == 'active'
    assert node._loop.active and not node._loop.safety.tripped
    assert warnings[0] == (
        'transition 1 refused in state active; possible now: deactivate (4), shutdown (7)'
    )
    assert len(warnings) == 3


def test_a_failed_configure_leaves_nothing_behind(node, monkeypatch):
    before = resources(node)
    publish = node.create_publisher

    def refuse_gripper(kind, topic, *rest):
        return fail() if 'Gripper' in topic else publish(kind, topic, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(node, 'create_publisher', refuse_gripper)
        assert node.trigger_configure() == FAILURE
    assert state(node) == 'unconfigured'
    assert resources(node) == before
    assert 'not configured' in set_instruction(node).message
    assert node.set_parameters([Parameter('seed', value=3)])[0].successful
    assert node.trigger_configure() == SUCCESS
    assert set_instruction(node).success


def test_a_failed_activate_leaves_the_node_inactive_and_deaf(node, monkeypatch):
    assert node.trigger_configure() == SUCCESS
    before = resources(node)
    monkeypatch.setattr(node._loop, 'activate', fail)
    assert node.trigger_activate() == FAILURE
    assert (state(node), resources(node)) == ('inactive', before)
    assert 'not active' in enable(node).message


@pytest.mark.parametrize('transition', ['deactivate', 'cleanup'])
def test_a_failure_while_stopping_ends_unconfigured_with_motion_locked(
    node, monkeypatch, transition
):
    before = resources(node)
    assert node.trigger_configure() == SUCCESS
    if transition == 'deactivate':
        assert node.trigger_activate() == SUCCESS
        monkeypatch.setattr(node._loop, 'deactivate', fail)
    else:
        monkeypatch.setattr(node._outputs._commands, 'close', fail)
    assert getattr(node, f'trigger_{transition}')() == ERROR
    subscriptions, timers, _ = resources(node)
    assert (state(node), subscriptions, timers) == ('unconfigured', *before[:2])
    assert 'not active' in enable(node).message
    assert node.trigger_configure() == SUCCESS


def test_parameters_cannot_be_deleted(node):
    result = node.set_parameters([Parameter('max_skew')])[0]
    assert not result.successful
    assert node.trigger_configure() == SUCCESS


def test_repeated_warnings_are_one_line_a_second_whatever_their_figures(node):
    outputs, logged = node._outputs, []
    outputs._log = type('Log', (), {'warning': staticmethod(logged.append)})()
    for age in range(1000):
        outputs.warning(f'stale wrist image 0.{age} s > 0.20 s')
        outputs.warning(f'action clamped: Joint{age % 6 + 1}')
        outputs.warning(f'chunk {age} rejected: stale')
    assert len(logged) == 3
    assert len(outputs._logged) == 3


def test_a_traceback_is_logged_once_until_another_comes(node):
    outputs, logged = node._outputs, []
    outputs._log = type('Log', (), {'error': staticmethod(logged.append)})()
    for trace in ('first', 'first', 'second'):
        outputs._logged.clear()
        outputs.error('inference failed: KeyError', trace)
    assert [text for text in logged if 'inference' not in text] == ['first', 'second']


def test_a_chunk_of_somebodys_own_policy_becomes_a_message_whatever_its_numbers_are():
    chunk = ActionChunk(
        np.zeros((2, 7), np.float32), np.float32(1.5), 1, 'stack', {'total': np.float32(0.5)},
        {'version': 3, 'trained': True},
    )  # fmt: skip
    message = chunk_message(chunk, 1, 'joint_position', ('a',) * 7, Time())
    assert (message.step_period, list(message.latencies)) == (1.0, [0.5])
    assert {pair.key: pair.value for pair in message.provenance} == {
        'version': '3', 'trained': 'True',
    }  # fmt: skip
