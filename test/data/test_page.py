# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The page of episodes: one file, what is in it, texts that want to be code."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from support.data_samples import contract, observations, states, targets
from vla_adapter_ros.data.codecs import decode_image
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.show.__main__ import main
from vla_adapter_ros.data.show.page import PageEpisode, recorded_episode, write_page
from vla_adapter_ros.data.sources import open_source

EVIL = 'pick </script><script>alert(1)</script> & "quotes"'


def content(path):
    """The data in a page, and what else is in it."""
    text = path.read_text('utf-8')
    head, _, rest = text.partition('<script id="data" type="application/json">')
    data, _, tail = rest.partition('</script>')
    return json.loads(data), head + tail


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp('page')
    with DatasetWriter(folder / 'set', contract(), storage='image') as writer:
        for seed, text in enumerate(('pick', EVIL)):
            writer.add_episode(observations(20, seed), targets(20, seed), text)
    source = open_source(folder / 'set')
    write_page(folder / 'index.html', (recorded_episode(source, number) for number in range(2)))
    return folder / 'index.html'


def test_the_page_has_pictures_plots_and_texts_of_the_episodes(page):
    episodes, rest = content(page)
    assert [one['instruction'] for one in episodes] == ['pick', EVIL]
    assert 'alert' not in rest, 'a text of the dataset stays in the data'
    assert not re.search(r'(src|href)\s*=\s*["\'](http|//)', rest), 'nothing is loaded'
    first = episodes[0]
    assert (first['length'], first['names'][-1], first['chunks']) == (20, 'Gripper', {})
    np.testing.assert_allclose(np.transpose(first['state']), states(20, 0), atol=1e-4)
    np.testing.assert_allclose(np.transpose(first['action']), targets(20, 0), atol=1e-4)
    assert first['picture_frames'] == list(range(0, 20, 2)), 'five a second'
    for camera in contract().cameras:
        urls = first['pictures'][camera]
        assert len(urls) == 10
        prefix, _, code = urls[0].partition(',')
        assert prefix == 'data:image/jpeg;base64'
        assert decode_image(base64.b64decode(code)).ndim == 3


def test_a_page_needs_a_folder(page, capsys):
    with pytest.raises(SystemExit):
        main([str(page.parent / 'set'), '--web'])
    assert '--web needs --output' in capsys.readouterr().err


def test_values_that_are_no_numbers_are_left_out(tmp_path):
    state = np.array([[0.12345678, np.nan], [np.inf, 2.0]])
    episode = PageEpisode(
        'a', 'go', None, 10.0, ['x', 'y'], 2, state, state[:, :0], 0, np.arange(1),
        {'cam': [np.zeros((400, 600, 3), np.uint8)]}, np.arange(2),
        {'predicted': np.ones((2, 3, 2))}, 2,
    )  # fmt: skip
    write_page(tmp_path / 'a.html', [episode])
    [found] = content(tmp_path / 'a.html')[0]
    assert found['state'] == [[0.1235, None], [None, 2.0]]
    assert found['chunks'] == {'predicted': [[[1.0, 1.0]] * 3] * 2}
    image = decode_image(base64.b64decode(found['pictures']['cam'][0].partition(',')[2]))
    assert image.shape == (180, 270, 3)


@pytest.mark.skipif(shutil.which('node') is None, reason='node is not installed')
def test_the_script_of_the_page_can_be_parsed(tmp_path, page):
    script = tmp_path / 'page.js'
    script.write_text(content(page)[1].partition('<script>')[2].partition('</script>')[0])
    done = subprocess.run(['node', '--check', str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
