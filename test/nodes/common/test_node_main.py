# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""How nodes end: Ctrl-C while a policy is loaded, and pressed once, twice, or with a bounce."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from support.graph_client import GraphClient
from support.ros_harness import NodeProcess, isolated_environment, stop_leftovers, wait_until

SCRIPT = """
import sys, time
from rclpy.node import Node
from vla_adapter_ros.nodes.common.node_main import spin_node


class Slow(Node):
    def __init__(self):
        super().__init__('slow')
        print('ready', flush=True)

    def close(self):
        print('closing', flush=True)
        time.sleep(float(sys.argv[1]))
        print('closed', flush=True)


sys.exit(spin_node(Slow, []))
"""


@pytest.fixture
def slow():
    """slow(seconds) → a process whose node takes so long to close."""
    processes = []

    def start(seconds):
        process = subprocess.Popen(
            [sys.executable, '-u', '-c', SCRIPT, str(seconds)], stdout=subprocess.PIPE, text=True,
            stderr=subprocess.STDOUT, env=isolated_environment(),
        )  # fmt: skip
        processes.append(process)
        while 'ready' not in process.stdout.readline():
            assert process.poll() is None
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_second_press_ends_a_node_that_does_not_close(slow):
    process = slow(300.0)
    process.send_signal(signal.SIGINT)
    assert 'closing' in process.stdout.readline()
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert 'ending immediately' in process.stdout.read()


@pytest.mark.parametrize('again', [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_launcher_that_repeats_the_signal_does_not_cut_the_hold_short(slow, again):
    process = slow(1.5)
    process.send_signal(signal.SIGINT)
    # A terminal and its launcher send SIGINT together; SIGTERM may come at any time.
    if again == signal.SIGTERM:
        assert 'closing' in process.stdout.readline()
        time.sleep(0.7)
    process.send_signal(again)
    assert process.wait(20) == 0
    assert process.stdout.read().endswith('closed\n')


def test_a_node_that_loads_a_policy_ends_at_the_first_press():
    environment = isolated_environment()
    node = NodeProcess('policy_node', {'policy': 'support.faults:SlowToLoad'}, environment)
    client = GraphClient(environment)
    try:
        client.wait_for_node()
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
        # The client that was made before the node answered: its request is not lost.
        answer = client._clients['vla_adapter/change_state'].call_async(request)
        node.wait_for_log('loading')
        assert not answer.done()
        node.interrupt()
        wait_until(lambda: not node.alive, 20.0, 'end of the node')
        assert node.process.returncode == 0
        assert 'interrupted while the policy was loaded' in node.log
        assert 'Traceback' not in node.log
    finally:
        client.close()
        node.kill()


def test_nodes_of_a_rig_whose_constructor_fails_are_stopped():
    class Rig:
        def __init__(self):
            environment = isolated_environment()
            started.append(NodeProcess('usb_camera', {'device': 'generated'}, environment))
            started.append(GraphClient(environment))
            raise RuntimeError('no joint states within 60 s')

    started = []
    with pytest.raises(RuntimeError):
        Rig()
    node, client = started
    assert node.alive and client.context.ok()
    stop_leftovers()
    assert not node.alive and not client.context.ok()
