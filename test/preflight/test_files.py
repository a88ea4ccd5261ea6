# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Preflight without ROS: machine, packages, checkpoint against contract, memory, latency."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from vla_adapter_ros.preflight import files as preflight
from vla_adapter_ros.preflight.checks import (
    FAIL,
    PASS,
    SKIP,
    WARN,
    Check,
    exit_code,
    run_check,
    table,
)
from vla_adapter_ros.preflight.files import (
    PreflightSettings,
    check_checkpoint,
    check_device,
    check_inference_times,
    check_interpreter,
    check_main_memory,
    check_packages,
    file_checks,
    required_packages,
)
from vla_adapter_ros.robot.contract import contract_path, resolve_contract

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A tiny network with random weights, saved as any checkpoint."""
    from vla_adapter_ros.inference.policy import Policy

    folder = tmp_path_factory.mktemp('checkpoint')
    Policy.random(resolve_contract('alicia_d')).save(folder)
    return folder


def one(checks, name):
    return next(check for check in checks if check.name == name)


def test_good_checkpoint_passes_everything(checkpoint):
    checks = file_checks(PreflightSettings(checkpoint=str(checkpoint), device='cpu', model_runs=3))
    assert [c.name for c in checks] == [
        'interpreter', 'packages', 'device', 'robot contract', 'checkpoint', 'contract match',
        'memory', 'GPU memory', 'model latency',
    ]
    assert exit_code(checks) == 0
    assert 'median' in one(checks, 'model latency').detail
    # Float32 is what a start needs memory for; which precision runs is measured then.
    assert one(checks, 'memory').detail.endswith(
        '; dtype auto loads float32 first, faster ones are measured at the start'
    )
    assert 'dtype auto: float32 without measuring' in one(checks, 'model latency').detail


def test_memory_of_a_fixed_precision_is_not_said_to_be_measured(checkpoint):
    settings = PreflightSettings(checkpoint=str(checkpoint), device='cpu', dtype='bfloat16')
    assert 'auto' not in check_main_memory(settings).detail


def test_other_robot_fails_and_says_where_it_differs(checkpoint, tmp_path):
    text = contract_path('alicia_d').read_text()
    other = tmp_path / 'other.yaml'
    other.write_text(text.replace('step_period: 0.1', 'step_period: 0.2'))
    settings = PreflightSettings(robot=str(other), checkpoint=str(checkpoint))
    match = one(check_checkpoint(settings), 'contract match')
    assert match.verdict == FAIL
    assert 'step_period: 0.2 here, 0.1 there' in match.detail


def test_missing_checkpoint_is_one_failure_and_the_rest_goes_on(tmp_path):
    checks = file_checks(PreflightSettings(checkpoint=str(tmp_path / 'none')))
    failed = [check for check in checks if check.verdict == FAIL]
    assert [check.name for check in failed] == ['checkpoint']
    assert 'no such directory' in failed[0].detail
    assert one(checks, 'memory').verdict == SKIP
    assert one(checks, 'robot contract').verdict == PASS


def test_unknown_robot_is_named(checkpoint):
    checks = file_checks(
        PreflightSettings(robot='panda', checkpoint=str(checkpoint), model_runs=0)
    )
    assert one(checks, 'robot contract').verdict == FAIL
    assert "robot 'panda' is unknown; known robots:" in one(checks, 'robot contract').detail


def test_missing_device_is_named():
    check = run_check('device', lambda: check_device(PreflightSettings(device='cuda:7')))[0]
    assert check.verdict == FAIL
    assert "got 'cuda:7', this machine has cpu" in check.detail


def test_old_and_missing_packages_fail_with_the_command_to_run():
    check = check_packages({'numpy': '99.0', 'nonsense': '1'})[0]
    assert check.verdict == FAIL
    assert 'is older than 99.0' in check.detail
    assert 'nonsense cannot be imported' in check.detail
    assert f'{sys.executable} -m pip install' in check.detail


def test_local_version_suffix_is_no_version_number():
    assert preflight._numbers('2.13.0+cpu') == (2, 13, 0)
    assert preflight._numbers('5.23.0rc1') >= preflight._numbers('5.20')
    assert preflight._numbers('4.8') < preflight._numbers('4.14.0.94')


def test_packages_are_those_of_the_requirements():
    lines = (REPOSITORY / 'requirements/core.txt').read_text().splitlines()
    wanted = {}
    for line in lines:
        if found := re.match(r'([\w-]+)>=([\d.]+)', line):
            wanted[found[1]] = found[2]
    assert len(wanted) > 5
    assert required_packages() == wanted


def test_interpreter_is_shown_and_an_old_one_refused():
    assert sys.executable in check_interpreter().detail
    old = check_interpreter((3, 8, 10))
    assert old.verdict == FAIL
    assert 'at least 3.10' in old.detail


@pytest.mark.parametrize(
    ('seconds', 'verdict', 'text'),
    [(0.05, PASS, 'p95 50 ms'), (0.35, WARN, '4 of 8 steps'), (0.9, FAIL, 'stops between chunks')],
)
def test_latency_is_compared_with_the_step_period(seconds, verdict, text):
    check = check_inference_times([seconds] * 5, step_period=0.1, chunk_size=8)
    assert check.verdict == verdict
    assert text in check.detail


def test_check_that_breaks_is_a_failure_not_a_crash():
    def broken():
        raise RuntimeError('first line\nsecond')

    assert run_check('x', broken) == [Check('x', FAIL, 'RuntimeError: first line')]


def test_table_is_readable_with_and_without_colour():
    long = Check('long name', FAIL, 'word ' * 40)
    checks = [Check('a', PASS, 'good'), long, Check('c', WARN, '')]
    plain = table(checks, colour=False)
    assert '\x1b' not in plain
    assert plain.splitlines()[0] == 'ok        a          good'
    assert max(map(len, plain.splitlines())) <= 100
    assert plain.endswith('1 ok, 1 warning, 1 FAIL: not ready')
    assert '\x1b[31mFAIL' in table(checks, colour=True)
    assert exit_code(checks) == 1
    assert exit_code(checks[:1]) == 0


def test_command_writes_json_and_ends_with_its_exit_code(tmp_path, capsys):
    result = tmp_path / 'result.json'
    assert preflight.main(['--checkpoint', str(tmp_path), '--json', str(result)]) == 1
    assert 'FAIL      checkpoint' in capsys.readouterr().out
    data = json.loads(result.read_text())
    assert data['ready'] is False
    assert {'name', 'verdict', 'detail'} == set(data['checks'][0])
