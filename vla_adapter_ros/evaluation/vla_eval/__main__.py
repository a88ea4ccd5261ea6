# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Serve a policy to a benchmark of vla-eval.

    python -m vla_adapter_ros.evaluation.vla_eval CHECKPOINT --benchmark libero --port 8000

`vla-eval run` then asks it: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from collections.abc import Sequence

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.suites.policies import ZERO
from vla_adapter_ros.evaluation.vla_eval.forms import form_of, forms
from vla_adapter_ros.inference.chunk import PRECISIONS


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of this module."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.evaluation.vla_eval',
        description='Serve a policy to a benchmark of vla-eval.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('checkpoint', help=f'folder or Hub address of a checkpoint, or {ZERO}')
    add('--benchmark', required=True, choices=list(forms()))
    add('--statistics-key', default='', help='of a checkpoint that holds several')
    add('--open-loop', type=int, default=8, help='actions executed of each chunk')
    add('--batch', type=int, default=1, help='most observations of parallel runs at once')
    add('--device', default='auto', help='auto, cpu, cuda, …')
    add('--dtype', default='auto', choices=PRECISIONS)
    add('--host', default='127.0.0.1', help='address; vla-eval asks for no token, so keep it here')
    add('--port', type=int, default=8000)
    return parser


def refuse_address(host: str, port: int) -> None:
    """Raise VLAAdapterError where nothing can listen: before a network is loaded."""
    try:
        socket.create_server((host, port)).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise VLAAdapterError(f'cannot listen on {host}:{port}: {reason}') from None


def serve(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C.

    Raises:
        VLAAdapterError: the address is taken, vla-eval is missing, or the policy cannot be served.
    """
    refuse_address(options.host, options.port)
    try:
        from vla_eval.model_servers.serve import serve as serve_model

        from vla_adapter_ros.evaluation.vla_eval.model_server import VLAAdapterServer
    except ImportError as error:
        raise VLAAdapterError(
            f'{error}: run `{sys.executable} -m pip install -r requirements/vla_eval.txt`'
        ) from None
    server = VLAAdapterServer(
        options.checkpoint, options.benchmark, options.statistics_key, options.device,
        options.dtype, options.open_loop, options.batch,
    )  # fmt: skip
    print(f'{options.benchmark}: differs from the official evaluation: '
          f'{form_of(options.benchmark).differs}')  # fmt: skip
    serve_model(server, options.host, options.port)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if min(options.open_loop, options.batch) < 1:
        parser.error('--open-loop and --batch must be at least 1')
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(levelname)s %(message)s')
    try:
        serve(options)
    except VLAAdapterError as error:
        print(f'vla_eval: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
