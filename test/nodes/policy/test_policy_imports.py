# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Policies without a network start without loading one: no torch, no simulation, no plots."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from support.ros_harness import REPOSITORY, isolated_environment

HEAVY = {'torch', 'transformers', 'tokenizers', 'mujoco', 'matplotlib'}
CONFIGURE = """
import json, os, sys
import rclpy
from vla_adapter_ros.nodes.policy.policy_node import PolicyNode

rclpy.init(args=['--ros-args', '-p', 'robot:=alicia_d_sim', '-p', f'policy:={sys.argv[1]}'])
node = PolicyNode()
done = [str(node.trigger_configure()), str(node.trigger_activate())]
print(json.dumps([done, sorted(name for name in sys.modules if '.' not in name)]), flush=True)
os._exit(0)  # without the end of the context, which Jazzy needs
"""


@pytest.mark.parametrize('policy', ['hold', 'random'])
def test_a_policy_without_a_network_runs_without_heavy_imports(policy):
    run = subprocess.run(
        [sys.executable, '-c', CONFIGURE, policy], cwd=REPOSITORY, env=isolated_environment(),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    done, modules = json.loads(run.stdout.splitlines()[-1])
    assert all(result.endswith('SUCCESS') for result in done), run.stderr
    assert 'rclpy' in modules
    assert not HEAVY & set(modules)
