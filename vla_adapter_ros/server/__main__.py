# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Serve a checkpoint to robots and programs: `ros2 run vla_adapter_ros policy_server`.

On this machine only, unless --host names another address; then clients need a token, and
--certificate and --key should be given: docs/remote_policy.md.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vla_adapter_ros.errors import ServerError, VLAAdapterError
from vla_adapter_ros.inference.chunk import PRECISIONS
from vla_adapter_ros.inference.simple_policies import shipped_checkpoint
from vla_adapter_ros.server.access import Access, check_libraries, token_of_environment
from vla_adapter_ros.server.protocol import DEFAULT_PORT, TOKEN_VARIABLE

if TYPE_CHECKING:
    from vla_adapter_ros.inference.chunk import PipelinePolicy

_log = logging.getLogger('vla_adapter_ros.server')


def main(args: Sequence[str] | None = None) -> int:
    """Run the server until Ctrl-C or SIGTERM; returns the exit code."""
    options = _parser().parse_args(args)
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(levelname)s %(message)s')
    code = 0
    try:
        asyncio.run(_run(options))
    except VLAAdapterError as error:
        print(f'policy_server: {error}', file=sys.stderr)
        code = 1
    if any(thread.daemon for thread in threading.enumerate()):
        # The policy's thread waits for requests, or is inside the model. Python's own end would
        # take the interpreter away from under it, which aborts the process.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


async def _run(options: argparse.Namespace) -> None:
    check_libraries()
    if options.batch < 1:
        raise ServerError(f'--batch: got {options.batch}, expected at least 1')
    from vla_adapter_ros.server.policy_server import PolicyServer

    access = Access(
        options.host, options.port, token_of_environment(), options.certificate, options.key
    )
    if access.warning:
        _log.warning(access.warning)
    server = PolicyServer(lambda: _load(options), access, options.batch)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await server.run(stop, lambda: _log.info(f'listening at {server.url}; loading the policy'))


def _load(options: argparse.Namespace) -> PipelinePolicy:
    directory = options.checkpoint or shipped_checkpoint()
    if directory is None:
        raise VLAAdapterError('no checkpoint ships with this installation: name a directory')
    # Seconds, for which somebody whose port is taken need not wait.
    from vla_adapter_ros.inference.exported import open_policy
    from vla_adapter_ros.weights.released import model_folder

    policy = open_policy(
        model_folder(directory, say=_log.info),
        device=options.device,
        dtype=options.dtype,
        compile=options.compile,
        threads=options.threads,
        statistics_key=options.statistics_key or None,
    )
    if because := policy.provenance.get('dtype_because'):
        _log.info(f'dtype {because}')
    policy.warm_up(batch=options.batch)
    return policy


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='policy_server',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'{TOKEN_VARIABLE} in the environment: the secret that clients must know.',
    )
    add = parser.add_argument
    named = 'directory, also of an export, or org/name on the Hub (the one that ships)'
    add('checkpoint', nargs='?', default='', help=named)
    add('--host', default='127.0.0.1', help='address to listen on (%(default)s)')
    add('--port', type=int, default=DEFAULT_PORT, help='TCP port (%(default)s)')
    add('--certificate', default='', help='certificate file (PEM): clients use wss://')
    add('--key', default='', help='key file of the certificate (PEM)')
    add('--device', default='auto', help='auto, cpu, cuda, cuda:0, ... (%(default)s)')
    add('--dtype', default='auto', help=', '.join(PRECISIONS))
    add('--compile', action='store_true', help='compile the model (GPU)')
    add('--threads', type=int, default=0, help='CPU threads; 0: all but one')
    add('--batch', type=int, default=1, help='most clients to compute at once (%(default)s)')
    add('--statistics-key', default='', help='which statistics, if the checkpoint holds several')
    return parser


if __name__ == '__main__':
    sys.exit(main())
