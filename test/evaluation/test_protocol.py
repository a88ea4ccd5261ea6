# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The judgement runs each level and words once, and goes on where it stopped."""

import json
from dataclasses import replace

import pytest

from vla_adapter_ros.evaluation import episode_log, protocol, simulate
from vla_adapter_ros.evaluation.protocol import PUBLISHED_EPISODES, PUBLISHED_SEED
from vla_adapter_ros.evaluation.report import report_data
from vla_adapter_ros.evaluation.rollout import EpisodeResult, EpisodeRunner
from vla_adapter_ros.simulation import collect
from vla_adapter_ros.simulation.wordings import TRAINED
from vla_adapter_ros.training import simulation_check
from vla_adapter_ros.weights.files import write_json

EPISODE = EpisodeResult('reach', 0, '', ('red block',), None, 3, True, 1.5, 2, 0, '', 0.1)


def test_published_seeds_are_nobody_else_s():
    """Development: 0 to 99; checks in training: 500,000 on; what is trained on: 1,000,000 on."""
    assert simulation_check.FIRST_SEED + 100_000 <= PUBLISHED_SEED
    assert PUBLISHED_SEED + PUBLISHED_EPISODES <= collect.FIRST_SEED


@pytest.mark.slow(reason='many whole episodes')
def test_each_cell_is_run_once_and_told_in_the_table(tmp_path, monkeypatch, capsys):
    runs = []
    run = simulate.main
    monkeypatch.setattr(simulate, 'main', lambda given: runs.append(given) or run(given))
    command = [
        'zero', '--out', str(tmp_path), '--seed', '0', '--episodes', '1', '--tasks', 'reach',
        '--levels', 'nominal', 'hard', '--words', 'held_out',
    ]  # fmt: skip
    assert protocol.main(command) == 0 and len(runs) == 2
    assert protocol.main(command) == 0 and len(runs) == 2
    assert protocol.main([*command, '--latency', '0.1']) == 0 and len(runs) == 4
    rows = (tmp_path / 'table.md').read_text().splitlines()
    assert 'named object acted on' in rows[0]
    assert [row.split('|')[1].strip() for row in rows[2:]] == ['nominal', 'hard']
    assert rows[2].count('[0, 79] (0/1)') >= 1


@pytest.mark.parametrize('bad', [['--levels', 'easy'], ['--words', 'french'], []])
def test_bad_commands_are_refused(bad, capsys):
    with pytest.raises(SystemExit):
        protocol.main(['zero', *bad])


def test_the_table_names_what_is_judged():
    cells = {('hard', TRAINED): [replace(EPISODE, task='long_horizon')]}
    header, _, row = protocol.table(cells, ['pick_and_place', 'long_horizon']).splitlines()
    titles = [cell.strip() for cell in header.split('|')[1:-1]]
    assert titles == [
        'level', 'words', 'on the plate', 'two objects, in order', 'named object acted on',
    ]  # fmt: skip
    assert [cell.strip() for cell in row.split('|')[3:5]] == ['-', '100 % [21, 100] (1/1)']


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """Return a function: further words → the commands that a judgement of one cell runs."""
    runs = []

    def run(given):
        options = simulate.make_parser().parse_args(given)
        runs.append(options)
        options.out.mkdir(parents=True, exist_ok=True)
        data = report_data(*simulate.origin_of(options), {'zero': [EPISODE]}, {})
        write_json(options.out / protocol.REPORT, data)
        return 0

    monkeypatch.setattr(simulate, 'main', run)

    def judge(*further):
        runs.clear()
        cell = ['--levels', 'hard', '--words', 'held_out', '--tasks', 'reach']
        assert protocol.main(['zero', '--out', str(tmp_path), *cell, *further]) == 0
        return list(runs)

    return judge


def test_a_cell_is_run_again_when_the_code_of_episodes_or_the_contract_changes(
    judged, tmp_path, monkeypatch
):
    contract = tmp_path / 'mine.yaml'
    contract.write_text('extends: alicia_d_sim\nname: mine\n')
    robot = ('--robot', str(contract))
    assert len(judged(*robot)) == 1 and judged(*robot) == []
    contract.write_text('extends: alicia_d_sim\nname: mine\nstep_period: 0.2\n')
    assert len(judged(*robot)) == 1 and judged(*robot) == []
    monkeypatch.setattr(episode_log, 'code_fingerprint', lambda nodes: 'changed')
    assert len(judged(*robot)) == 1 and judged(*robot) == []


def test_a_cell_of_another_revision_with_the_same_code_is_kept(judged, tmp_path, monkeypatch):
    monkeypatch.setattr(episode_log, 'code_revision', lambda: 'before')
    judged()
    monkeypatch.setattr(episode_log, 'code_revision', lambda: 'after')
    assert judged() == []
    (made,) = json.loads((tmp_path / 'made_with.json').read_text()).values()
    assert made['revision'] == 'before' and made['contract'] and made['code']


def test_more_episodes_of_a_cell_go_on_from_its_report(tmp_path, monkeypatch):
    played = []
    run = EpisodeRunner.run
    monkeypatch.setattr(
        EpisodeRunner, 'run', lambda self, job: played.append(job.seed) or run(self, job)
    )
    command = [
        'zero', '--out', str(tmp_path), '--seed', '0', '--tasks', 'reach', '--levels', 'nominal',
        '--words', 'trained', '--films', '0', '--episodes',
    ]  # fmt: skip
    assert protocol.main([*command, '2']) == 0 and played == [0, 1]
    assert protocol.main([*command, '3']) == 0 and played == [0, 1, 2]
    (_, _, episodes) = protocol.read_cell(tmp_path / 'nominal-trained' / protocol.REPORT)
    assert [episode.seed for episode in episodes] == [0, 1, 2]
    played.clear()
    assert protocol.main([*command, '4', '--latency', '0.1']) == 0 and played == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ('words', 'through_nodes'),
    [
        (['--ros-sim-time', '4'], True),
        (['--ros-sim-time=4'], True),
        (['--ros-sim=4', '--ros'], True),
        (['--ros'], True),
        (['--ros-sim-time=0'], False),
        (['--films=0'], False),
    ],
)
def test_simulated_time_switches_the_nodes_on_however_it_is_typed(judged, words, through_nodes):
    (run,) = judged(*words)
    assert run.ros is through_nodes
