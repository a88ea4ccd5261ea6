# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What nodes and launch files use of ROS 2 exists in Humble, Jazzy, Kilted and Lyrical."""

from __future__ import annotations

import json

from support.ros_api import TABLE, used

CONTENT = json.loads(TABLE.read_text())
HINT = 'see support/ros_api.py for the sources of which the table is made'


def test_every_distribution_has_what_is_used():
    items, alternatives = used()
    methods, known = set(CONTENT['methods']), CONTENT['items']
    items = {i for i in items if not i.startswith('.') or i.split('(')[0] in methods}
    assert len(items) > 200, 'the reading of our sources finds what is used'
    unknown = sorted(items - set(known))
    assert not unknown, f'not looked up in the distributions: {unknown}; {HINT}'
    missing = {i: sorted(set(CONTENT['versions']) - set(known[i])) for i in sorted(items)}
    assert {i: where for i, where in missing.items() if where} == {}
    for choice in alternatives:
        having = {d for item in choice for d in known.get(item, ())}
        assert having == set(CONTENT['versions']), choice


def test_the_table_is_of_the_four_distributions():
    assert sorted(CONTENT['versions']) == ['humble', 'jazzy', 'kilted', 'lyrical']
    for versions in CONTENT['versions'].values():
        assert {'rclpy', 'launch', 'launch_ros', 'sensor_msgs'} <= set(versions)
