# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the nodes and launch files use of ROS 2, and which distributions have it.

`used()` reads our sources. The table (`ros_api.json`) was made from the released sources of each
distribution, unpacked as FOLDER/DISTRIBUTION/PACKAGE:

    PYTHONPATH=test python -m support.ros_api FOLDER

An item is `rclpy.node.Node` (a name that can be imported), `rclpy.node.Node(namespace)` (an
argument), `.create_timer` or `.create_timer(clock)` (a method of some class of rclpy: the
class is not known without running the code), or `sensor_msgs.msg.Image(step)` (a field).
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name('ros_api.json')
LIBRARIES = ('rclpy', 'launch', 'launch_ros')
MESSAGES = (
    'action_msgs', 'builtin_interfaces', 'diagnostic_msgs', 'geometry_msgs', 'lifecycle_msgs',
    'rcl_interfaces', 'rosgraph_msgs', 'sensor_msgs', 'std_msgs', 'std_srvs', 'trajectory_msgs',
    'visualization_msgs',
)  # fmt: skip
Function = (ast.FunctionDef, ast.AsyncFunctionDef)


def our_sources() -> list[Path]:
    return sorted([*(ROOT / 'vla_adapter_ros' / 'nodes').rglob('*.py'), *ROOT.glob('launch/*.py')])


# ------------------------------------------------------------------------------- what we use


def used() -> tuple[set[str], list[set[str]]]:
    """Return the items that are used, and the sets of which each distribution needs one (`try`:
    one import, `except ImportError`: another).
    """
    items: set[str] = set()
    alternatives: list[set[str]] = []
    trees = [ast.parse(path.read_text()) for path in our_sources()]
    own: set[str] = set()
    for path in (ROOT / 'vla_adapter_ros').rglob('*.py'):
        own |= set(re.findall(r'^\s*(?:async )?def (\w+)', path.read_text(), re.MULTILINE))
    for tree in trees:
        imports = list(_imports(tree))
        names = dict(imports)
        guarded: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Try) and _catches_import_error(node):
                choice = {item for _, item in _imports(node)}
                if len(choice) > 1:
                    alternatives.append(choice)
                    guarded |= choice
        items |= {item for _, item in imports}
        items |= set(_uses(tree, names, own))
        items = {item for item in items if item.split('(')[0] not in guarded}
    return items, alternatives


def _catches_import_error(node: ast.Try) -> bool:
    return any(isinstance(h.type, ast.Name) and h.type.id == 'ImportError' for h in node.handlers)


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the local name and the imported item of ROS."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and _of_ros(node.module):
            yield from ((a.asname or a.name, f'{node.module}.{a.name}') for a in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _of_ros(alias.name):
                    top = alias.name.split('.')[0]
                    yield (alias.asname, alias.name) if alias.asname else (top, top)


def _of_ros(module: str) -> bool:
    return module.split('.')[0] in (*LIBRARIES, *MESSAGES)


def _uses(tree: ast.AST, names: dict[str, str], own: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            item = _item(node, names)
            if item and not item.split('.')[-1].isupper():
                yield item
        elif isinstance(node, ast.Call):
            item = _item(node.func, names)
            if not item and isinstance(node.func, ast.Attribute) and node.func.attr not in own:
                item = f'.{node.func.attr}'
                yield item
            yield from (f'{item}({k.arg})' for k in node.keywords if item and k.arg)


def _item(node: ast.AST, names: dict[str, str]) -> str:
    """Return the imported item that an expression names, or ''."""
    if isinstance(node, ast.Name):
        return names.get(node.id, '')
    if isinstance(node, ast.Attribute) and (of := _item(node.value, names)):
        return f'{of}.{node.attr}'
    return ''


# ----------------------------------------------------------------- what a distribution has


def available(folder: Path) -> set[str]:
    """Return all items of one distribution's sources, without what begins with `_`."""
    items: set[str] = set()
    arguments: dict[str, set[str]] = defaultdict(set)
    bases: dict[str, set[str]] = defaultdict(set)
    where: dict[str, list[str]] = defaultdict(list)
    for library in LIBRARIES:
        top = folder / library / library
        for path in sorted(top.rglob('*.py')):
            module = '.'.join([library, *path.relative_to(top).with_suffix('').parts])
            module = module.removesuffix('.__init__')
            items.add(module)
            for node in _top_level(ast.parse(path.read_text())):
                for name, used_as in _definitions(node):
                    items.add(f'{module}.{name}')
                    where[used_as].append(f'{module}.{name}')
                if isinstance(node, ast.ClassDef):
                    bases[node.name] |= {b for base in node.bases if (b := _last_name(base))}
                    _members(node, items, arguments, library == 'rclpy')
                elif isinstance(node, Function):
                    arguments[node.name] |= _argument_names(node)
    for name in list(where):
        for base in _all_bases(name, bases):
            arguments[name] |= arguments.get(base, set())
        for full in where[name]:
            items |= {f'{full}({argument})' for argument in arguments[name]}
            items |= {f'{full}.{inner}' for inner in arguments.get(f'{name}.', ())}
    return items | set(_messages(folder))


def _top_level(tree: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those inside `if` and `try` too."""
    for node in getattr(tree, 'body', []):
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            yield from _top_level(node)
            for other in (*node.orelse, *getattr(node, 'handlers', ())):
                yield from _top_level(ast.Module([other], []))


def _definitions(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """Yield the names that a statement defines, with the name under which they were defined."""
    if isinstance(node, (ast.ClassDef, *Function)):
        yield node.name, node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from ((a.asname or a.name, a.name) for a in node.names)
    elif isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from ((t.id, t.id) for t in targets if isinstance(t, ast.Name))


def _members(
    node: ast.ClassDef, items: set[str], arguments: dict[str, set[str]], of_rclpy: bool
) -> None:
    for member in node.body:
        if isinstance(member, Function):
            if member.name in ('__init__', '__new__'):
                arguments[node.name] |= _argument_names(member)
            if of_rclpy:
                items |= {f'.{member.name}'}
                items |= {f'.{member.name}({a})' for a in _argument_names(member)}
        elif isinstance(member, ast.ClassDef):
            arguments[f'{node.name}.'].add(member.name)


def _argument_names(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    given = node.args
    names = {a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)} - {'self', 'cls'}
    return names | ({'**'} if given.kwarg else set())


def _last_name(node: ast.expr) -> str:
    node = node.value if isinstance(node, ast.Subscript) else node
    return getattr(node, 'attr', getattr(node, 'id', ''))


def _all_bases(name: str, bases: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    new = set(bases.get(name, ()))
    while new:
        found |= new
        new = {b for known in new for b in bases.get(known, ())} - found
    return found


def _messages(folder: Path) -> Iterator[str]:
    for package in MESSAGES:
        for path in sorted((folder / package).glob('*/*.*')):
            kind, name = path.suffix.lstrip('.'), path.stem
            if kind not in ('msg', 'srv', 'action'):
                continue
            full = f'{package}.{kind}.{name}'
            yield full
            yield from (f'{full}.{part}' for part in ('Request', 'Response') if kind == 'srv')
            for section, text in zip(('Request', 'Response'), path.read_text().split('\n---')):
                part = f'.{section}' if kind == 'srv' else ''
                for field in re.findall(r'^[\w/\[\]<>=]+[ \t]+(\w+)', text, re.MULTILINE):
                    yield f'{full}{part}({field})'


def has(items: set[str], item: str) -> bool:
    """Whether a distribution with these items has one; `**` takes every argument."""
    return item in items or ('(' in item and f'{item.split("(")[0]}(**)' in items)


def main() -> None:
    """Write the table for what is used now."""
    folders = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir())
    sources = {folder.name: available(folder) for folder in folders}
    methods = {m for m in set().union(*sources.values()) if m.startswith('.') and '(' not in m}
    items, alternatives = used()
    items |= {item for choice in alternatives for item in choice}
    wanted = {i for i in items if not i.startswith('.') or i.split('(')[0] in methods}
    content = {
        'versions': {
            folder.name: {
                path.parent.name: re.search('<version>(.*)</version>', path.read_text())[1]
                for path in sorted(folder.glob('*/package.xml'))
            }
            for folder in folders
        },
        'items': {item: [d for d in sources if has(sources[d], item)] for item in sorted(wanted)},
        'methods': sorted(methods),
    }
    TABLE.write_text(json.dumps(content, separators=(',', ':')).replace('],', '],\n') + '\n')


if __name__ == '__main__':
    main()
