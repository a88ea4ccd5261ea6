# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Inspects demonstrations before training.

    python -m vla_adapter_ros.data.show datasets/pick --output look/

Prints a summary with warnings; writes a contact sheet, a plot of states and actions for each
chosen episode, and rerun recordings (.rrd) where rerun-sdk is installed; with --web also a page
to browse them, look/index.html.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vla_adapter_ros.data.codecs import encode_png
from vla_adapter_ros.data.episodes import EpisodeSource
from vla_adapter_ros.data.lerobot.columns import add_column_options, columns_of
from vla_adapter_ros.data.show.images import contact_sheet, plot_episode, write_rrd
from vla_adapter_ros.data.show.overview import overview_of
from vla_adapter_ros.data.show.page import recorded_episode, write_page
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.errors import DatasetError, VLAAdapterError


def describe(source: EpisodeSource) -> list[str]:
    """Return format, cameras and robot of a dataset, one line each."""
    kind = type(source).__name__.removesuffix('Source')
    views = ', '.join(
        f'{camera} {view.shape[1]}x{view.shape[0]}'
        for camera in source.cameras
        for view in source.images(0, camera, [0])
    )
    contract = source.contract
    robot = 'no robot contract'
    if contract is not None:
        robot = f'robot {contract.name}, actions for the model: {contract.action_space}'
    return [f'{source.path}: {kind}, {source.fps:g} frames/s', f'cameras: {views}', robot]


def look(source: EpisodeSource, output: Path, episodes: Sequence[int], rerun: bool) -> list[Path]:
    """Write contact sheet, plots and (if asked) rerun recordings; return the files."""
    output.mkdir(parents=True, exist_ok=True)
    files = [output / 'contact_sheet.png']
    files[0].write_bytes(encode_png(contact_sheet(source, episodes)))
    for number in tqdm(episodes, desc='episodes', unit='episode'):
        name = source.episodes[number].key.replace('/', '_')
        files.append(output / f'{name}.png')
        plot_episode(source, number, files[-1])
        if rerun:
            files.append(output / f'{name}.rrd')
            write_rrd(source, number, files[-1])
    return files


def choose_episodes(source: EpisodeSource, wanted: Sequence[int], count: int) -> list[int]:
    """Return the chosen episodes, or `count` evenly spaced ones.

    Raises:
        DatasetError: an episode that is not there.
    """
    total = len(source.episodes)
    for number in wanted:
        if not 0 <= number < total:
            raise DatasetError(f'episode {number}: expected 0 to {total - 1}')
    if wanted:
        return list(wanted)
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.data.show',
        description='Print what is in a set of demonstrations, with warnings, and draw it.',
    )
    parser.add_argument('dataset', help='LeRobot, LIBERO, RLDS or CALVIN folder, bags, or hub:')
    parser.add_argument('--output', type=Path, help='folder for images (default: none)')
    parser.add_argument(
        '--episode', type=int, action='append', default=[], help='episode to draw; repeatable'
    )
    parser.add_argument(
        '--count', type=int, default=6, help='number of episodes drawn without --episode (6)'
    )
    parser.add_argument(
        '--rerun', choices=['auto', 'yes', 'no'], default='auto',
        help='write .rrd files: auto (default) does where rerun-sdk is installed',
    )  # fmt: skip
    parser.add_argument(
        '--web', action='store_true',
        help='write index.html too: pictures and plots of the drawn episodes, for any browser',
    )  # fmt: skip
    add_column_options(parser)
    options = parser.parse_args(arguments)
    if options.web and options.output is None:
        parser.error('--web needs --output')
    try:
        source = open_source(options.dataset, columns_of(options))
        print('\n'.join([*describe(source), *overview_of(source).lines()]))
        if options.output is not None:
            installed = find_spec('rerun') is not None
            rerun = options.rerun == 'yes' or (options.rerun == 'auto' and installed)
            if not rerun and options.rerun == 'auto':
                print('no .rrd files: rerun-sdk is not installed')
            chosen = choose_episodes(source, options.episode, options.count)
            for file in look(source, options.output, chosen, rerun):
                print(file)
            if options.web:
                page = options.output / 'index.html'
                episodes = tqdm(chosen, desc='page', unit='episode')
                write_page(page, (recorded_episode(source, number) for number in episodes))
                print(page)
    except VLAAdapterError as error:
        print(f'error: {error}')
        return 1
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
