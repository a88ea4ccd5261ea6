# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A ROS domain for each worker process; `isolated_environment` gives a new one to each rig."""

from __future__ import annotations

import os

import pytest

from support.ros_harness import PROFILE, reserve_domain, stop_leftovers


@pytest.fixture(scope='session', autouse=True)
def domain_of_this_process():
    domain, reservation = reserve_domain()
    with reservation:
        os.environ['ROS_DOMAIN_ID'] = str(domain)
        # Fast DDS reads it once, with the first node of a process.
        for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
            os.environ[name] = PROFILE
        yield


@pytest.fixture(scope='module', autouse=True)
def no_node_outlives_its_module():
    yield
    stop_leftovers()
