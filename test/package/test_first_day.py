# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The first day, from a fresh clone: every command of docs/first_day.md works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.ros_harness import isolated_environment

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs' / 'first_day.md').read_text('utf-8')


def commands() -> list[str]:
    """The lines that the script runs, joined where they go on."""
    blocks = ''.join(re.findall(r'^```bash\n(.*?)^```', PAGE, re.M | re.S))
    return blocks.replace('\\\n', ' ').splitlines()


def test_the_page_goes_from_recording_to_running():
    modules = [match[1] for line in commands() if (match := re.match(r'python -m ([\w.]+)', line))]
    ends = [module.rpartition('.')[2] for module in modules]
    assert ends == ['demo', 'record_expert', 'convert', 'show', 'train', 'open_loop', 'simulate',
                    'demo']  # fmt: skip
    assert commands()[:2] == ['make build', '. scripts/env.sh']


def test_an_unknown_option_is_refused():
    command = [str(ROOT / 'scripts' / 'first_day.sh'), '--fast']
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr == 'first_day.sh: unknown option --fast; expected --quick or none\n'


@pytest.mark.slow(reason='records, trains and runs a policy: three minutes')
@pytest.mark.timeout(1800)
def test_every_command_works_in_a_fresh_clone(tmp_path):
    clone = tmp_path / 'clone'
    subprocess.run(['git', 'clone', '--quiet', str(ROOT), str(clone)], check=True)
    plain = {k: v for k, v in isolated_environment().items()
             if not k.startswith(('AMENT', 'COLCON', 'CMAKE', 'PYTHONPATH', 'VLA_'))}  # fmt: skip
    done = subprocess.run(
        [str(clone / 'scripts' / 'first_day.sh'), '--quick'],
        env={**plain, 'VENV': os.environ.get('VENV', sys.prefix)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1700,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert '3 episodes in ' in done.stdout and '3 marked as success' in done.stdout
    assert '3 converted, 0 already converted, 0 skipped' in done.stdout
    info = json.loads((clone / 'datasets/plate/meta/info.json').read_text())
    assert info['total_episodes'] == 3
    for file in ('look/plate/index.html', 'look/open_loop/episodes.html', 'look/own/demo.gif',
                 'runs/plate/checkpoints/best/model.safetensors'):  # fmt: skip
        assert (clone / file).is_file(), file
    assert re.search(r'^ *\d+ s  altogether$', done.stdout, re.M)
