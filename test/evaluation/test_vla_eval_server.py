# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A policy behind the real vla-eval, which is installed for this test in a folder of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Its own runner and connection, and a benchmark that has the names of vla-eval's LIBERO.
CLIENT = """\
import importlib, inspect, json, sys
sys.path.append(sys.argv[1])  # behind ours: its NumPy is not for us
import anyio
import numpy as np
from vla_eval import specs
from vla_eval.api import serve_background
from vla_eval.connection import Connection
from vla_adapter_ros.evaluation.vla_eval.forms import forms
from vla_adapter_ros.evaluation.vla_eval.model_server import VLAAdapterServer

unknown = []
for name, form in forms().items():
    # The classes need their simulators only when they are used.
    where = json.loads(sys.argv[2])[name]
    module, _, title = where.partition(':')
    names = set()
    for kind in getattr(importlib.import_module(module), title).__mro__[:-1]:
        names |= set(inspect.signature(kind.__init__).parameters)
    unknown += [f'{name}: {p}' for p in {**form.params, **form.wrist_params} if p not in names]
    unknown += [f'{name}: {constant}' for constant in form.specs if not hasattr(specs, constant)]

async def play(url):
    message = {
        'images': {view: np.zeros((256, 256, 3), np.uint8) for view in ('agentview', 'wrist')},
        'states': np.zeros(8), 'task_description': 'push',
    }
    async with Connection(url) as connection:
        said = connection.server_info
        await connection.start_episode({'task': {'name': 'push'}})
        actions = [(await connection.act(message))['actions'].tolist() for _ in range(9)]
    return said, actions

with serve_background(VLAAdapterServer('zero', 'libero', batch=int(sys.argv[3]))) as server:
    said, actions = anyio.run(play, server.url)
print(json.dumps({
    'unknown': unknown, 'params': said['observation_params'], 'actions': actions,
    'spec': said['action_spec']['gripper']['format'],
}))
"""


@pytest.fixture(scope='module')
def installed(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp('vla_eval')
    done = subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '--quiet', '--target', str(folder),
         '-r', str(ROOT / 'requirements' / 'vla_eval.txt')],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f'vla-eval cannot be installed here: {done.stderr[-200:]}')
    return str(folder)


@pytest.mark.slow(reason='installs vla-eval: minutes, and needs a package index')
@pytest.mark.parametrize('batch', [1, 4])
def test_vla_eval_is_answered_by_a_policy(installed, batch):
    from vla_adapter_ros.evaluation.vla_eval.forms import FILE
    from vla_adapter_ros.plain_yaml import parse_yaml

    classes = {name: form['class'] for name, form in parse_yaml(FILE.read_text()).items()}
    done = subprocess.run(
        [sys.executable, '-c', CLIENT, installed, json.dumps(classes), str(batch)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found['unknown'] == []
    assert found['params'] == {
        'send_state': True, 'env_seed': 0, 'quat_no_antipodal': True, 'send_wrist_image': True
    }  # fmt: skip
    assert found['actions'] == [[0.0] * 6 + [-1.0]] * 9
    assert found['spec'] == 'binary_close_positive'
