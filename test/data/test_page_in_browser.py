# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The pages of episodes in a real browser. With UPDATE_IMAGES=1 the docs get new screenshots."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.browser import Browser, find_browser, wait_until
from support.data_samples import contract, observations, targets
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.show.__main__ import main as show
from vla_adapter_ros.evaluation.open_loop import main as open_loop
from vla_adapter_ros.simulation.collect import main as collect

PACKAGE = Path(__file__).resolve().parents[2]
# Colours of each plot, read from a copy: the browser warns of canvases that are read often.
DRAWN = """[...document.querySelectorAll('canvas')].map((canvas) => {
  const c = new OffscreenCanvas(canvas.width, canvas.height)
    .getContext('2d', {willReadFrequently: true});
  c.drawImage(canvas, 0, 0);
  return new Set(new Uint32Array(
    c.getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size;
})"""
SHOWN = '[...document.images].map((i) => [i.naturalWidth, i.naturalHeight])'
EVIL = 'pick <img src=x onerror=alert(1)></script><script>alert(1)</script>'

pytestmark = [
    pytest.mark.slow(reason='starts a browser, and the simulated arm for its pictures'),
    pytest.mark.skipif(not find_browser(), reason='no chromium here (apt install chromium)'),
]


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp('browser'), 1100, 640) as browser:
        yield browser


def check_drawn(browser, plots, pictures):
    """Every plot has curves and a label, every picture pixels, and nothing was complained of."""
    colours = browser.value(DRAWN)
    assert len(colours) == plots and min(colours) > 10, colours
    sizes = browser.value(SHOWN)
    assert len(sizes) == pictures and np.min(sizes) > 20, sizes
    assert browser.complaints == []


def move_to(browser, frame):
    browser.value(f"byId('frame').value = {frame}; byId('frame').oninput(); 0")
    wait_until(lambda: browser.value('[...document.images].every((i) => i.complete)'))


def test_episodes_are_drawn_chosen_and_played(browser, tmp_path):
    with DatasetWriter(tmp_path / 'set', contract(), storage='image') as writer:
        for seed, text in enumerate(('pick', EVIL)):
            writer.add_episode(observations(20, seed), targets(20, seed), text)
    assert show([str(tmp_path / 'set'), '--output', str(tmp_path), '--web']) == 0
    browser.open(tmp_path / 'index.html')
    names = browser.value('episode.names')
    check_drawn(browser, len(names), 2)
    first = browser.picture()
    browser.value("byId('list').children[1].click(); 0")
    assert browser.value("byId('title').textContent") == EVIL
    check_drawn(browser, len(names), 2)
    assert browser.picture() != first
    source = browser.value('document.images[0].src')
    move_to(browser, 15)
    assert browser.value('document.images[0].src') != source
    assert browser.value("byId('time').textContent") == '1.5 s, frame 15'
    browser.value("byId('play').click(); 0")
    wait_until(lambda: browser.value("Number(byId('frame').value)") not in (15, 16))
    browser.value("byId('play').click(); 0")
    check_drawn(browser, len(names), 2)


def test_simulated_episodes_and_predictions_are_seen(browser, tmp_path):
    dataset = tmp_path / 'sim'
    wanted = ['--task', 'stack', '--task', 'pick_and_place', '--episodes', '2', '--workers', '1']
    assert collect([str(dataset), *wanted]) == 0
    assert show([str(dataset), '--output', str(tmp_path / 'look'), '--web']) == 0
    browser.open(tmp_path / 'look/index.html')
    move_to(browser, browser.value('Math.round(episode.length / 2)'))
    check_drawn(browser, 7, 2)
    keep(browser.picture(), 'episodes_page.png')

    checkpoint = PACKAGE / 'vla_adapter_ros/checkpoints/tiny_sim'
    report = tmp_path / 'report'
    assert open_loop([str(checkpoint), str(dataset), '--output', str(report)]) == 0
    browser.open(report / 'episodes.html')
    move_to(browser, browser.value('Math.round(episode.length / 3)'))
    check_drawn(browser, 7, 2)
    keep(browser.picture(), 'open_loop_page.png')


def keep(picture, name):
    """Write a screenshot into the docs if asked, in 128 colours: half the bytes."""
    image = Image.open(io.BytesIO(picture)).convert('RGB')
    assert image.size == (1100, 640) and np.std(image) > 10
    if os.environ.get('UPDATE_IMAGES') == '1':
        image.quantize(128).save(PACKAGE / 'docs/images' / name, optimize=True)
