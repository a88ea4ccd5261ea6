# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The judgement runs each level and words once, and goes on where it stopped."""

import pytest

from vla_adapter_ros.evaluation import protocol, simulate
from vla_adapter_ros.evaluation.protocol import PUBLISHED_EPISODES, PUBLISHED_SEED


def test_published_seeds_are_nobody_else_s():
    """Development: 0 to 99; checks in training, demonstrations, takeovers, images: 500,000 on."""
    assert 100 <= PUBLISHED_SEED < PUBLISHED_SEED + PUBLISHED_EPISODES < 500_000


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
