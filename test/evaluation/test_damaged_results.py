# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Results of an earlier run that are damaged, or not ours, are named with the way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from support.foreign_results import EPISODE, IDENTITY, write_log, write_report, write_results
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation import protocol, simulate
from vla_adapter_ros.evaluation.episode_log import EPISODES, EpisodeLog
from vla_adapter_ros.evaluation.libero.__main__ import NOTHING
from vla_adapter_ros.evaluation.suites.store import FILE, ResultStore


def changed(**changes: Any) -> Callable[[bytes], bytes]:
    """Return what changes fields of the first episode of a report."""

    def change(report: bytes) -> bytes:
        data = json.loads(report)
        data['policies']['zero']['episodes'][0].update(changes)
        return json.dumps(data).encode()

    return change


DAMAGES = {
    'truncated': lambda report: report[:100],
    'empty': lambda _: b'',
    'not UTF-8': lambda report: b'\xff' + report,
    'a list': lambda _: b'[]',
    'of another program': lambda _: b'{"version": 2}',
    'text for a number': changed(seconds='long'),
    'a number for text': changed(task=3),
    'no objects': changed(objects=0),
    'a field too many': changed(mood='good'),
}


@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_report_of_a_judgement_is_named_with_the_way_out(tmp_path, capsys, damage):
    (report,) = write_report(tmp_path / 'nominal-trained')
    report.write_bytes(damage(report.read_bytes()))
    command = ['zero', '--out', str(tmp_path), '--levels', 'nominal', '--words', 'trained']
    assert protocol.main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f'protocol: {report}: cannot be read: ')
    assert line.endswith('; remove it to evaluate this cell again')


@pytest.mark.parametrize('content', [b'[1, 2]\n', b'{"version": 2}', b'\xff\xfe'])
def test_a_log_of_another_program_is_left_alone(tmp_path, capsys, content):
    (tmp_path / EPISODES).write_bytes(content)
    command = ['zero', '--task', 'reach', '--episodes', '1', '--out', str(tmp_path)]
    assert simulate.main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f'{tmp_path / EPISODES}: no log of evaluation.simulate; remove it' in line
    assert (tmp_path / EPISODES).read_bytes() == content


@pytest.mark.parametrize('damage', [b'\xff' * 4, b'[]', b'{"made_with": ', b'\0' * 9])
def test_a_damaged_line_of_a_log_is_passed_over(tmp_path, damage):
    (file,) = write_log(tmp_path / 'x')
    lines = file.read_bytes().splitlines()
    broken = lines[1].replace(b'"success": true', b'"success": "yes"')
    file.write_bytes(b'\n'.join([lines[0], damage, broken, b'']))
    assert list(EpisodeLog(tmp_path / 'x', IDENTITY).done.values()) == [EPISODE]


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (b'"success": false', b'"success": "no"'),
        (b'"queries": 0', b'"queries": null'),
        (b'"queries": 0', b'"queries": -1'),
        (b'"error": ""', b'"mistake": ""'),
        (b'"task": 0', b'"task": [0]'),
        (b'"identity": {', b'"identity": [], "x": {'),
        (b'{"task"', b'\xff{"task"'),
    ],
)
def test_damaged_results_of_a_benchmark_are_named_with_the_way_out(tmp_path, old, new):
    (file,) = write_results(tmp_path / 'x')
    data = file.read_bytes()
    assert old in data
    file.write_bytes(data.replace(old, new))
    identity = {'open_loop': 4} if b'identity' in old else IDENTITY
    with pytest.raises(VLAAdapterError, match=rf'{FILE}: cannot be .*; choose another --out'):
        ResultStore(tmp_path / 'x', identity, NOTHING)


def test_a_report_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    """A machine that dies while it is written leaves the episodes, not half a report."""

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr('vla_adapter_ros.weights.files.sync', dies)
    command = ['zero', '--task', 'reach', '--episodes', '1', '--out', str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        simulate.main(command)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [EPISODES]
