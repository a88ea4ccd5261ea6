# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Bring-up on the real ROS graph: start, parameters, activation, failure, orderly stop.

The nodes here are a few lines each, so that what is tested is the bring-up.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')

from support.ros_harness import isolated_environment
from vla_adapter_ros.nodes.bringup import bringup
from vla_adapter_ros.nodes.bringup.bringup import (
    Bringup,
    BringupError,
    command_line,
    parse_arguments,
)
from vla_adapter_ros.nodes.bringup.launch_model import NodeProcess
from vla_adapter_ros.nodes.bringup.nodes_to_start import ALICIA
from vla_adapter_ros.nodes.common.dds_profile import OLD_DISTRIBUTIONS
from vla_adapter_ros.robot.contract import contract_path

NODE = """#!/usr/bin/env python3
import sys, time
import rclpy
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from std_msgs.msg import String
from vla_adapter_ros.nodes.common.node_main import spin_node


class Small(LifecycleNode):
    def __init__(self):
        super().__init__('small', automatically_declare_parameters_from_overrides=True)
        self.create_publisher(String, 'wrist/image', 1)
        for name, parameter in self._parameters.items():
            print(f'{name}={parameter.value!r}', flush=True)
        print('name', self.get_fully_qualified_name(), flush=True)
        print('topic', self.resolve_topic_name('wrist/image'), flush=True)
        if self.value('mode') == 'crash at start':
            raise SystemExit(3)

    def value(self, name):
        return self.get_parameter_or(name, rclpy.Parameter(name, value='')).value

    def on_configure(self, state):
        print('configure', flush=True)
        if self.value('mode') == 'crash in configure':
            sys.stdout.flush()
            import os
            os._exit(4)
        if self.value('mode') == 'hang in configure':
            time.sleep(60)
        refuse = self.value('mode') == 'refuse'
        return TransitionCallbackReturn.FAILURE if refuse else TransitionCallbackReturn.SUCCESS

    def on_activate(self, state):
        print('activate', flush=True)
        return super().on_activate(state)

    def close(self):
        print(f'closed {time.monotonic()}', flush=True)


sys.exit(spin_node(Small, None))
"""


@pytest.fixture
def graph(tmp_path, monkeypatch):
    """A domain of its own, and an executable that is the small node."""
    for name, value in isolated_environment().items():
        monkeypatch.setenv(name, value)
    if os.environ.get('ROS_DISTRO') not in OLD_DISTRIBUTIONS:
        # Fast DDS 3 warns about it; version 2 reads no other, once in a process.
        monkeypatch.delenv('FASTRTPS_DEFAULT_PROFILES_FILE', raising=False)
    script = tmp_path / 'small'
    script.write_text(NODE)
    script.chmod(0o755)
    monkeypatch.setattr(bringup, 'executable_path', lambda name, package='': script)
    return tmp_path


def process(name='vla_adapter', lifecycle=True, **changes):
    values = {
        'executable': 'small',
        'name': name,
        'namespace': '',
        'parameters': {},
        'remappings': (),
        'log_level': 'info',
        'lifecycle': lifecycle,
    }
    return NodeProcess(**{**values, **changes})


def log(folder, name='vla_adapter'):
    return (folder / f'{name}.log').read_text()


def test_node_gets_its_parameters_name_and_remappings_and_becomes_active(graph):
    wanted = {
        'instruction': 'no',
        'checkpoint': '',
        'max_skew': 1e-5,
        'seed': 3,
        'enable': True,
        'quoted': 'it\'s "red": yes',
        'names': ['a', 'b'],
    }
    lines = []
    plan = process(
        namespace='arm_1', parameters=wanted, remappings=(('wrist/image', '/cam/image_raw'),)
    )
    with Bringup([plan], graph, lines.append) as running:
        running.activate(30.0)
        assert running.first_ended() == ''
    text = log(graph)
    for name, value in wanted.items():
        assert f'{name}={value!r}\n' in text
    assert 'name /arm_1/vla_adapter\n' in text
    assert 'topic /cam/image_raw\n' in text
    assert text.index('configure') < text.index('activate') < text.index('closed')
    assert any(line.startswith('vla_adapter is active') for line in lines)


def test_nodes_stop_in_reverse_order(graph):
    # The policy node's last command (hold) must still find an arm.
    with Bringup([process('sim_arm', lifecycle=False), process()], graph, str) as running:
        running.activate(30.0)
        # Ctrl-C in the terminal reaches the bring-up alone.
        groups = {os.getpgid(child.pid) for child in running._running.values()}
        assert len(groups) == 2 and os.getpgrp() not in groups
    closed = [
        float(log(graph, n).split('closed ')[1].split()[0]) for n in ('sim_arm', 'vla_adapter')
    ]
    assert closed[0] > closed[1]


def test_a_second_ctrl_c_leaves_no_node_running(monkeypatch):
    children = [subprocess.Popen(['sleep', '60']) for _ in range(2)]
    running = Bringup([], None, str)
    running._running = {str(child.pid): child for child in children}

    def interrupted(process):
        raise KeyboardInterrupt

    monkeypatch.setattr(bringup, 'end_process', interrupted)
    with pytest.raises(KeyboardInterrupt):
        running.stop()
    assert [child.wait(10) for child in children] == [-signal.SIGKILL] * 2


def test_a_node_that_refuses_to_configure_is_named(graph):
    refusing = process(parameters={'mode': 'refuse'})
    with Bringup([refusing], graph, str) as running:
        with pytest.raises(BringupError, match=r'/vla_adapter did not configure; see .*\.log'):
            running.activate(30.0)
        assert running.first_ended() == ''


@pytest.mark.parametrize(('mode', 'code'), [('crash at start', 3), ('crash in configure', 4)])
def test_a_node_that_dies_ends_the_wait_at_once(graph, mode, code):
    begin = time.monotonic()
    dying = process(parameters={'mode': mode})
    with Bringup([dying], graph, str) as running:
        with pytest.raises(BringupError, match=f'vla_adapter ended with code {code}'):
            running.activate(60.0)
    assert time.monotonic() - begin < 30.0


def test_a_node_that_hangs_is_given_up_and_killed(graph, monkeypatch):
    monkeypatch.setattr(bringup, 'STOP_TIMEOUT_S', 0.5)
    hanging = process(parameters={'mode': 'hang in configure'})
    with Bringup([hanging], graph, str) as running:
        pid = running.process_ids['vla_adapter']
        with pytest.raises(BringupError, match='did not configure in time'):
            running.activate(8.0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_missing_executable_is_an_error_and_leaves_nothing_running(tmp_path, monkeypatch):
    monkeypatch.setattr(bringup, 'get_package_prefix', lambda name: str(tmp_path))
    with pytest.raises(BringupError, match='is missing: build the package again'):
        with Bringup([process()], tmp_path, str):
            pass


def test_command_is_that_of_ros2_run(monkeypatch, tmp_path):
    monkeypatch.setattr(bringup, 'executable_path', lambda name, package='': tmp_path / name)
    plan = process(namespace='a', remappings=(('x', '/y'),), log_level='debug')
    assert command_line(plan, '/p.yaml') == [
        str(tmp_path / 'small'), '--ros-args', '--params-file', '/p.yaml', '-r', '__ns:=/a',
        '-r', 'x:=/y', '--enclave', '/a/vla_adapter', '--log-level', 'a.vla_adapter:=debug',
        '-r', '__node:=vla_adapter',
    ]  # fmt: skip


def test_what_only_shows_is_not_waited_for_and_stopped_last(monkeypatch):
    events = []

    class Recorded(Bringup):
        def __init__(self, processes, *_):
            self.names = [one.name for one in processes]

        def __enter__(self):
            return self

        def __exit__(self, *_):
            events.append(self.names)

        def activate(self):
            pass

        def wait(self):
            return f'{self.names[-1]} ended'

    monkeypatch.setattr(bringup, 'Bringup', Recorded)
    monkeypatch.setattr(bringup, 'installed', lambda views: (list(views), ''))
    monkeypatch.setattr(bringup, 'use_shipped_profile', lambda simulated: None)
    with pytest.raises(SystemExit, match='vla_adapter ended'):
        bringup.main(['sim:=true', 'rviz:=true'])
    shown = ['third_person_frame', 'wrist_frame', 'model_state_publisher', 'rviz2']
    assert events == [['sim_arm', 'vla_adapter'], shown]


def test_arguments_have_the_form_of_ros2_launch():
    words = ['sim:=true', 'instruction:=push the block := now', 'robot:=']
    assert parse_arguments(words, ALICIA) == {
        'sim': 'true', 'instruction': 'push the block := now', 'robot': '',
    }  # fmt: skip


def test_a_word_that_is_no_argument_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(['sim=true'], ALICIA)
    assert "'sim=true': expected NAME:=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize('words', [[], ['teach'], ['record']], ids=str)
def test_help_describes_every_argument(capsys, words):
    with pytest.raises(SystemExit) as caught:
        bringup.main([*words, '--help'])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f'usage: {" ".join(["bringup", *words])} ')
    for argument in bringup.COMMANDS.get(*words or [''], ALICIA).arguments({}):
        assert argument.name in text and argument.description in text


def test_help_lists_the_topics_of_the_given_robot(capsys, tmp_path):
    path = tmp_path / 'robot.yaml'
    path.write_text(contract_path('alicia_d').read_text().replace('wrist: {', 'hand: {'))
    with pytest.raises(SystemExit):
        bringup.main(['teach', f'robot:={path}', '--help'])
    text = capsys.readouterr().out
    assert 'hand_topic' in text and 'wrist_topic' not in text


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['colour:=red'], "bringup: argument 'colour' is unknown; arguments: sim, params_file"),
        (['teach', 'colour:=red'], "bringup: argument 'colour' is unknown; arguments: sim, robot"),
        (['record', 'robot:=panda'], "bringup: robot 'panda' is unknown"),
        (['driver:=ros2_control'], 'bringup: alicia_d_moveit real_robot.launch.py needs `ros2'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_command_refuses_in_one_line(words, said):
    with pytest.raises(SystemExit) as caught:
        bringup.main(words)
    assert str(caught.value).startswith(said)
    assert '\n' not in str(caught.value)
