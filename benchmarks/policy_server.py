# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What a policy server costs beyond its inference, for two views of 224×224 pixels.

    python -m benchmarks.policy_server                        # a server of its own, on loopback
    python -m benchmarks.policy_server --url ws://gpu:8000    # yours, over your network

The own server is another process with a small network and random weights; the same policy runs
here too, in turns with it, and the actions are compared bit for bit. Reported in milliseconds:

    resize     two camera images (640×480) to views, in the client
    overhead   everything else but the server's own time in `Policy.predict`
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection as Pipe

import numpy as np

from benchmarks.common import moving_images
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.inference.engine import EngineSettings
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.model import VLAAdapterConfig
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.server.access import Access, token_of_environment
from vla_adapter_ros.server.codec import encode
from vla_adapter_ros.server.policy_server import PolicyServer
from vla_adapter_ros.server.protocol import request_message
from vla_adapter_ros.server.remote_policy import RemotePolicy

ROBOT = 'alicia_d'
VIEW_SIZE, PATCH = 224, 28  # pixels
TIMEOUT_S = 30.0
WARM_UP = 5
DEFAULT_QUERIES = 300


def small_policy() -> Policy:
    """Return a policy with full-size views and a network that takes milliseconds."""
    tiny = VLAAdapterConfig.tiny()
    towers = tuple(replace(t, image_size=VIEW_SIZE, patch=PATCH) for t in tiny.vision)
    config = replace(tiny, vision=towers)
    settings = EngineSettings(device='cpu', threads=1)
    return Policy.random(resolve_contract(ROBOT), config=config, settings=settings)


def _serve(pipe: Pipe) -> None:
    server = PolicyServer(small_policy, Access(port=0))
    asyncio.run(server.run(asyncio.Event(), lambda: pipe.send(server.url)))


def observations(remote: RemotePolicy, count: int) -> list[Observation]:
    """Return observations of a moving scene."""
    frames = moving_images(count + 1, 480, 640)
    cameras = remote.served.processing.cameras
    state = np.zeros(remote.served.state_size)
    return [
        Observation(
            {name: frames[i + n % 2] for n, name in enumerate(cameras)}, state, 'reach', float(i)
        )
        for i in range(count)
    ]


def measure(
    remote: RemotePolicy, local: Callable[[Observation], ActionChunk] | None, queries: int
) -> list[str]:
    """Return the lines of the report."""
    scenes = observations(remote, 8)
    times: dict[str, list[float]] = {'resize': [], 'overhead': [], 'remote total': []}
    if local is not None:
        times['local total'] = []
    equal = 0
    for i in range(WARM_UP + queries):
        seen = scenes[i % len(scenes)]
        there = remote.predict(seen)
        here = None if local is None else local(seen)
        if i < WARM_UP:
            continue
        stages = there.latencies
        times['resize'].append(stages['resize'])
        times['overhead'].append(stages['network'] + stages['server_wait'])
        times['remote total'].append(stages['total'])
        if here is not None:
            times['local total'].append(here.latencies['total'])
            equal += here.actions.tobytes() == there.actions.tobytes()
    views = dict(zip(remote.served.processing.cameras, remote.served.processing.views(scenes[0])))
    size = len(encode(request_message(scenes[0], views, 1, 1.0)))
    lines = [f'{queries} queries of {size / 1024:.0f} KiB to {remote.url}, [ms]:']
    lines.append(f'{"":14}{"p50":>8}{"p95":>8}{"max":>8}')
    for name, seconds in times.items():
        p50, p95 = np.percentile(seconds, (50, 95))
        lines.append(f'{name:14}{1e3 * p50:8.2f}{1e3 * p95:8.2f}{1e3 * max(seconds):8.2f}')
    if local is not None:
        lines.append(f'actions equal to the local ones bit for bit: {equal} of {queries}')
    return lines


def main(args: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.policy_server',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--url', default='', help='a running policy server')
    parser.add_argument('--queries', type=int, default=DEFAULT_QUERIES)
    options = parser.parse_args(args)
    process = None
    try:
        if options.url:
            url, local = options.url, None
        else:
            context = multiprocessing.get_context('spawn')
            pipe, other = context.Pipe()
            process = context.Process(target=_serve, args=(other,), daemon=True)
            process.start()
            local = small_policy().predict
            url = pipe.recv()
        remote = RemotePolicy(url, token_of_environment(), TIMEOUT_S)
        print('\n'.join(measure(remote, local, options.queries)))
        remote.close()
    except VLAAdapterError as error:
        print(f'policy_server: {error}', file=sys.stderr)
        return 1
    finally:
        if process is not None:
            process.kill()
            process.join()
    return 0


if __name__ == '__main__':
    sys.exit(main())
