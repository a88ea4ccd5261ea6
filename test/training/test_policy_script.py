# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""`make policy`: one command from nothing to a judged policy, at the smallest sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vla_adapter_ros.inference.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
SIZES = {
    'LEVELS': 'bench', 'TASKS': 'reach long_horizon', 'IMAGES': '60', 'EPISODES': '4',
    'READING_STEPS': '5', 'GROUND_STEPS': '5', 'ROUNDS': '4 4', 'TAKEOVERS': '2',
    'EVALUATED': '1',
}  # fmt: skip


@pytest.mark.slow(reason='minutes: collects, trains twice and judges')
@pytest.mark.timeout(1800)
def test_one_command_makes_and_judges_a_policy_that_more_rounds_go_on_from(tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    environment = {
        **os.environ, **SIZES, 'PATH': path, 'RUN': str(tmp_path / 'run'),
        'DATA': str(tmp_path / 'data'),
    }  # fmt: skip
    command = [ROOT / 'scripts' / 'policy.sh', 'save.every=4']

    def make(**more):
        return subprocess.run(
            list(map(str, command)), env=environment | more, cwd=ROOT, check=True, text=True,
            stdout=subprocess.PIPE,
        ).stdout  # fmt: skip

    make()
    last = tmp_path / 'run' / 'round_2'
    (newest,) = (last / 'checkpoints').glob('step-*')
    policy = Policy.from_pretrained(newest, device='cpu', dtype='float32', threads=1)
    assert policy.unknown_words('reach the red spoon') == ['spoon']
    assert policy.pipeline.tokenizer.pieces != (0, 0)  # by which it reads such a word
    report = json.loads((last / 'report_bench' / 'report.json').read_text())
    (judged,) = report['policies'].values()
    assert set(judged['tasks']) == {'reach', 'long_horizon'}
    weights = (newest / 'model.safetensors').read_bytes()
    again = make()  # finished: nothing changes, and takeovers are not tried again
    assert again.count('there before') == 3  # demonstrations of the table and of two tasks
    assert (newest / 'model.safetensors').read_bytes() == weights
    make(ROUNDS='4 4 4')
    assert (newest / 'model.safetensors').read_bytes() == weights
    (third,) = (tmp_path / 'run' / 'round_3' / 'checkpoints').glob('step-*')
    assert (third / 'model.safetensors').read_bytes() != weights
    assert (tmp_path / 'run' / 'round_3' / 'report_bench' / 'report.json').is_file()
