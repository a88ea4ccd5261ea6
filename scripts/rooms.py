#!/usr/bin/env python3
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The rooms of the package, read from its imports, and their diagram in docs/architecture.md.

    python scripts/rooms.py            # rewrite the diagram
    python scripts/rooms.py --check    # fail if it is out of date, or if a rule is broken

A room is a folder below vla_adapter_ros/. Imports inside functions count; those for type
checkers only (`if TYPE_CHECKING:`) count for the order of the rooms but not as circles.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = 'vla_adapter_ros'
ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / 'docs' / 'architecture.md'
BEGIN, END = '<!-- rooms: begin (python scripts/rooms.py) -->', '<!-- rooms: end -->'
# From top to bottom: a room imports only rooms below it; modules beside the rooms are free to all.
FREE = ('errors', 'plain_yaml')
ROOMS = (
    'nodes', 'lerobot_policy', 'training', 'server', 'evaluation', 'simulation', 'preflight',
    'teaching', 'data', 'control', 'motion', 'inference', 'robot', 'processing', 'model',
    'weights', 'architecture', 'cameras',
)  # fmt: skip
GENERATED = {'msg', 'srv', 'action'}  # by the build, from the folders of those names
MOST_MODULES = 20  # in one folder
ROS_MODULES = {'rclpy', 'launch', 'launch_ros', 'ament_index_python', 'std_srvs'}


@dataclass(frozen=True)
class Import:
    """One imported module.

    Attributes:
        path: the importing file.
        line: where.
        module: full name of what is imported, `from x import y` as `x.y` if that is a module.
        in_function: it runs when a function is called, not when the file is imported.
        for_types: it is read by type checkers only.
    """

    path: Path
    line: int
    module: str
    in_function: bool = False
    for_types: bool = False

    @property
    def room(self) -> str:
        """Room of the importing file; '' at the top of the package."""
        parts = self.path.relative_to(ROOT / PACKAGE).parts
        return parts[0] if len(parts) > 1 else ''

    @property
    def target(self) -> str:
        """Room of what is imported; '' outside the package and at its top."""
        parts = self.module.split('.')
        return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else ''

    def __str__(self) -> str:
        where = ' (in a function)' if self.in_function else ''
        return f'{self.path.relative_to(ROOT)}:{self.line} imports {self.module}{where}'


def module_name(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def is_module(name: str) -> bool:
    """Return whether a dotted name is a module of this checkout."""
    path = ROOT.joinpath(*name.split('.'))
    return path.with_suffix('.py').is_file() or (path / '__init__.py').is_file()


def is_ros(module: str) -> bool:
    """Return whether a module comes with ROS: its libraries, launch, and message packages."""
    top = module.split('.')[0]
    return top in ROS_MODULES or top.endswith(('_msgs', '_interfaces'))


def imports_of(path: Path, source: str | None = None) -> list[Import]:
    """Return every import of a file, or of `source` as if it stood there."""
    tree = ast.parse(path.read_text(encoding='utf-8') if source is None else source)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    lazy = _below(n for n in ast.walk(tree) if isinstance(n, functions))
    types = _below(n for n in ast.walk(tree) if _is_type_checking(n))
    return [
        Import(path, node.lineno, module, id(node) in lazy, id(node) in types)
        for node in ast.walk(tree)
        for module in _imported(node, path)
    ]


def _below(nodes: Iterable[ast.AST]) -> set[int]:
    return {id(inner) for node in nodes for inner in ast.walk(node)}


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith('TYPE_CHECKING')


def _imported(node: ast.AST, path: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ''
    if node.level:
        package = path.relative_to(ROOT).parts[:-1]
        above = package[: len(package) - node.level + 1]
        base = '.'.join((*above, *filter(None, [node.module])))
    names = [f'{base}.{alias.name}' for alias in node.names]
    rooms = [name for name in names if is_module(name)]
    # `from vla_adapter_ros import ROOM` names a room even where it does not exist yet.
    if base == PACKAGE:
        rooms = [name for name in names if not name.split('.')[1].startswith('__')]
    return rooms if len(rooms) == len(names) else [*rooms, base]


def all_imports() -> list[Import]:
    """Return every import of the package."""
    return [item for path in sorted((ROOT / PACKAGE).rglob('*.py')) for item in imports_of(path)]


def upward(imports: Iterable[Import]) -> list[Import]:
    """Return the imports of a room that is not below the importing one."""
    rank = {room: n for n, room in enumerate(ROOMS)}

    def allowed(item: Import) -> bool:
        if item.target in ('', *FREE, item.room):
            return True
        if item.target in GENERATED:
            return item.room == 'nodes'
        return rank.get(item.room, len(ROOMS)) < rank.get(item.target, -1)

    return [item for item in imports if not allowed(item)]


def circles(imports: Iterable[Import]) -> list[list[str]]:
    """Return the groups of modules that import each other in a circle, sorted."""
    graph: dict[str, set[str]] = {}
    for item in imports:
        if not item.for_types and is_module(item.module):
            graph.setdefault(module_name(item.path), set()).add(item.module)
    return sorted(_components(graph))


def _components(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """Yield the strongly connected components of more than one node (Tarjan's algorithm)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for after in sorted(graph.get(node, ())):
            if after not in number:
                visit(after)
                lowest[node] = min(lowest[node], lowest[after])
            elif after in stack:
                lowest[node] = min(lowest[node], number[after])
        if lowest[node] == number[node]:
            at = stack.index(node)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in number:
            visit(node)
    yield from found


def full_folders() -> list[str]:
    """Return the folders that hold more than `MOST_MODULES` modules."""
    counts: dict[Path, int] = {}
    for path in (ROOT / PACKAGE).rglob('*.py'):
        if path.name != '__init__.py':
            counts[path.parent] = counts.get(path.parent, 0) + 1
    return [f'{f.relative_to(ROOT)}: {n}' for f, n in sorted(counts.items()) if n > MOST_MODULES]


def room_edges(imports: Iterable[Import]) -> set[tuple[str, str]]:
    """Return (room, room it imports)."""
    return {
        (item.room, item.target)
        for item in imports
        if item.room in ROOMS and item.target in ROOMS and item.room != item.target
    }


def without_detours(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Leave out the arrows that a longer path implies, so that the diagram can be read."""
    below: dict[str, set[str]] = {}
    for room in reversed(ROOMS):
        direct = {b for a, b in edges if a == room}
        below[room] = direct.union(*(below.get(b, set()) for b in direct))
    return {
        (a, b)
        for a, b in edges
        if not any(b in below.get(c, set()) for a2, c in edges if a2 == a and c != b)
    }


def describe(room: str) -> str:
    """Return the first sentence of a room's docstring."""
    source = (ROOT / PACKAGE / room / '__init__.py').read_text(encoding='utf-8')
    text = ' '.join((ast.get_docstring(ast.parse(source)) or '').split())
    return text.split('. ')[0].rstrip('.').replace('`', '').replace('"', "'")


def diagram(imports: Iterable[Import]) -> str:
    """Return the rooms and what they import as a Mermaid diagram."""
    edges = without_detours(room_edges(imports))
    lines = ['```mermaid', 'flowchart TD']
    lines += [f'  {room}["<b>{room}/</b><br/>{describe(room)}"]' for room in ROOMS]
    order = {room: n for n, room in enumerate(ROOMS)}
    lines += [
        f'  {a} --> {b}' for a, b in sorted(edges, key=lambda e: (order[e[0]], order[e[1]]))
    ]
    return '\n'.join([*lines, '```'])


def replaced(page: str, drawing: str) -> str:
    """Return the page with another diagram between the marks."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f'{PAGE.name}: the marks {BEGIN!r} and {END!r} are missing')
    return f'{before}{BEGIN}\n{drawing}\n{END}{after}'


def main() -> int:
    """Rewrite or check the diagram; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--check', action='store_true', help='change nothing, report')
    check = parser.parse_args().check
    imports = all_imports()
    problems = [f'not downward: {item}' for item in upward(imports)]
    problems += [f'circle: {" -> ".join(group)}' for group in circles(imports)]
    problems += [f'more than {MOST_MODULES} modules: {folder}' for folder in full_folders()]
    page = PAGE.read_text(encoding='utf-8')
    wanted = replaced(page, diagram(imports))
    if not check:
        PAGE.write_text(wanted, encoding='utf-8')
    elif wanted != page:
        problems.append(f'{PAGE.name}: the diagram is out of date; run python scripts/rooms.py')
    print('\n'.join(problems) or f'{len(ROOMS)} rooms, {len(imports)} imports, no circle')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
