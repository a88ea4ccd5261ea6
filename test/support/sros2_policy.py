# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reads config/sros2/policies.xml as the tools of sros2 do (their schema 0.2.0), without them.

What an enclave may do is a set of (what, name): what is publish, subscribe, reply or request, the
name is fully qualified and may hold `*`. An action is the topics and services that it consists of.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

POLICIES = Path(__file__).resolve().parents[2] / 'config/sros2/policies.xml'
Grants = dict[str, set[tuple[str, str]]]

_INCLUDE = '{http://www.w3.org/2001/XInclude}include'
# Kind of list → its elements, and the attributes that it may have.
_LISTS = {
    'topics': ('topic', {'publish', 'subscribe'}),
    'services': ('service', {'reply', 'request'}),
    'actions': ('action', {'call', 'execute'}),
}
_OF_ACTION = {
    'execute': ('reply', 'publish'),
    'call': ('request', 'subscribe'),
}


def read_grants(path: Path = POLICIES) -> Grants:
    """Return enclave → what it may do; raises ValueError where the schema is not met."""
    root = ElementTree.parse(path).getroot()
    _expect(root, 'policy', {'version'}, {'enclaves'})
    if root.get('version') != '0.2.0' or len(root) != 1:
        raise ValueError('expected version 0.2.0 and one <enclaves>')
    grants: Grants = {}
    for enclave in root[0]:
        _expect(enclave, 'enclave', {'path'}, {'profiles'})
        name = enclave.attrib['path']
        if name in grants:
            raise ValueError(f'enclave {name} is there twice')
        (profiles,) = enclave
        grants[name] = {grant for profile in profiles for grant in _granted(profile, path.parent)}
    return grants


def _granted(profile: ElementTree.Element, folder: Path) -> Iterator[tuple[str, str]]:
    _expect(profile, 'profile', {'ns', 'node'}, {*_LISTS, _INCLUDE})
    space, node = profile.attrib['ns'].rstrip('/'), profile.attrib['node']
    for group in _included(profile, folder):
        item, allowed = _LISTS[group.tag]
        if not group.attrib or not set(group.attrib) <= allowed or not len(group):
            raise ValueError(f'{group.tag} of {node}: {group.attrib}, {len(group)} names')
        for element in group:
            _expect(element, item, set(), set())
            name = _full_name(element.text or '', space, node)
            for what, verdict in group.attrib.items():
                if verdict != 'ALLOW':
                    raise ValueError(f'{what} of {node} is {verdict}')
                yield from _parts(what, name)


def _included(profile: ElementTree.Element, folder: Path) -> Iterator[ElementTree.Element]:
    for group in profile:
        if group.tag != _INCLUDE:
            yield group
            continue
        if group.attrib.get('xpointer') != 'xpointer(/profile/*)':
            raise ValueError(f'include of {group.attrib}')
        part = ElementTree.parse(folder / group.attrib['href']).getroot()
        _expect(part, 'profile', set(), set(_LISTS))
        yield from part


def _full_name(name: str, space: str, node: str) -> str:
    if name.startswith('~'):
        return f'{space}/{node}{name[1:]}'
    return name if name.startswith('/') else f'{space}/{name}'


def _parts(what: str, name: str) -> Iterator[tuple[str, str]]:
    if what not in _OF_ACTION:
        yield what, name
        return
    service, topic = _OF_ACTION[what]
    for part in ('cancel_goal', 'get_result', 'send_goal'):
        yield service, f'{name}/_action/{part}'
    for part in ('feedback', 'status'):
        yield topic, f'{name}/_action/{part}'


def _expect(
    element: ElementTree.Element, tag: str, attributes: set[str], children: set[str]
) -> None:
    if element.tag != tag or set(element.attrib) != attributes:
        raise ValueError(f'<{element.tag} {element.attrib}>, expected {tag} with {attributes}')
    if wrong := {child.tag for child in element} - children:
        raise ValueError(f'<{tag} {element.attrib}> holds {wrong}')
