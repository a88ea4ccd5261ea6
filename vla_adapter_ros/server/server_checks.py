# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The checks of `preflight` for a policy server: reachable, for this robot, and fast enough."""

from __future__ import annotations

import time

from vla_adapter_ros.preflight.checks import FAIL, PASS, SKIP, WARN, Check, run_check
from vla_adapter_ros.preflight.files import check_inference_times
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.server.access import token_of_environment
from vla_adapter_ros.server.remote_policy import RemotePolicy

_TIMEOUT_S = 10.0


def server_checks(url: str, robot: str, runs: int) -> list[Check]:
    """Return the verdicts on a policy server.

    Args:
        url: `ws://HOST:PORT` or `wss://HOST:PORT`; the token is that of the environment.
        robot: contract, by name or path.
        runs: timed queries; 0: none.
    """
    found: list[RemotePolicy] = []
    checks = run_check('policy server', lambda: _connect(url, found))
    if not found:
        return checks
    (remote,) = found
    checks += run_check('contract match', lambda: _check_contract(remote, robot))
    checks += run_check('model latency', lambda: _check_latency(remote, runs))
    remote.close()
    return checks


def _connect(url: str, found: list[RemotePolicy]) -> Check:
    # Whoever asks wants to know what is there now.
    found.append(remote := RemotePolicy(url, token_of_environment(), _TIMEOUT_S, lambda: True))
    of = remote.served.provenance
    text = ', '.join(of[key] for key in ('checkpoint', 'device', 'dtype') if key in of)
    return Check('policy server', PASS, f'{url}: {text}')


def _check_contract(remote: RemotePolicy, robot: str) -> Check:
    if remote.contract is None:
        return Check('contract match', WARN, 'its policy names no robot: it cannot be compared')
    if differences := resolve_contract(robot).differences(remote.contract):
        return Check('contract match', FAIL, '; '.join(differences))
    return Check('contract match', PASS, 'its policy was trained for this robot')


def _check_latency(remote: RemotePolicy, runs: int) -> Check:
    if runs <= 0:
        return Check('model latency', SKIP, 'not measured (--model-runs 0)')
    remote.warm_up()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        remote.warm_up()  # asks once
        times.append(time.perf_counter() - start)
    return check_inference_times(times, remote.step_period, remote.served.action_shape[0])
