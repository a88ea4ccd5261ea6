# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""No module of the package runs code that comes with data, by its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / 'vla_adapter_ros'
BUILT_IN = {'eval', 'exec', 'compile', '__import__'}
# Anything called by these names, whatever module it is of.
LOADERS = {'unsafe_load', 'full_load', 'unsafe_load_all', 'full_load_all', 'read_pickle'}
PICKLES = {'pickle', 'dill', 'cloudpickle', 'joblib', 'shelve', 'marshal', 'msgpack_numpy'}
# Module → what of pickle it uses: an unpickler that rebuilds arrays only, and names of errors.
PICKLE_USERS = {
    'data/public/pickled.py': {'_Unpickler', 'UnpicklingError'},
    'weights/tensors.py': {'UnpicklingError'},
    'evaluation/libero/simulator.py': {'UnpicklingError'},
}
SAFE_LOADERS = {'YAML_LOADER', '_Loader', 'SafeLoader', 'CSafeLoader', 'loader'}


def findings(source: str, name: str) -> Iterator[str]:
    """Yield what could run foreign code, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from _imports(node, name)
        elif isinstance(node, ast.Attribute) and _text(node.value) in PICKLES:
            if node.attr not in PICKLE_USERS.get(name, ()):
                yield f'{name}:{node.lineno}: {_text(node)}'
        elif isinstance(node, ast.Call) and (what := _call(node)):
            yield f'{name}:{node.lineno}: {what}'


def _imports(node: ast.Import | ast.ImportFrom, name: str) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom):
        modules = [node.module or '']
    else:
        modules = [alias.name for alias in node.names]
    for module in modules:
        whole = module == 'pickle' and isinstance(node, ast.Import)
        if module.split('.')[0] in PICKLES and not (whole and name in PICKLE_USERS):
            yield f'{name}:{node.lineno}: import of {module}'


def _call(node: ast.Call) -> str:
    called = _text(node.func)
    options = {keyword.arg: _text(keyword.value) for keyword in node.keywords}
    last = called.rpartition('.')[2]
    if called in BUILT_IN or last in LOADERS or 'allow_pickle' in options:
        return called if options.get('allow_pickle') != 'False' else ''
    if options.get('trust_remote_code', 'False') != 'False':
        return f'{called}(trust_remote_code)'
    if called == 'torch.load' and options.get('weights_only') != 'True':
        return f'{called} without weights_only'
    if called in ('yaml.load', 'yaml.load_all'):
        given = options.get('Loader') or (_text(node.args[1]) if len(node.args) > 1 else '')
        return '' if given.rpartition('.')[2] in SAFE_LOADERS else f'{called} with another loader'
    if options.get('shell', 'False') != 'False' or called == 'os.system':
        return f'{called} with a shell'
    return ''


def _text(node: ast.AST) -> str:
    return ast.unparse(node)


def test_no_module_runs_code_that_comes_with_data():
    modules = sorted(PACKAGE.rglob('*.py'))
    assert len(modules) > 200
    found = [
        line
        for path in modules
        for line in findings(path.read_text('utf-8'), path.relative_to(PACKAGE).as_posix())
    ]
    assert not found, '\n'.join(found)


@pytest.mark.parametrize(
    'source',
    [
        'eval(text)',
        'torch.load(path)',
        'torch.load(path, weights_only=False)',
        'np.load(path, allow_pickle=True)',
        'yaml.load(text)',
        'yaml.load(text, yaml.Loader)',
        'yaml.load(text, Loader=yaml.UnsafeLoader)',
        'yaml.unsafe_load(text)',
        'AutoModel.from_pretrained(x, trust_remote_code=True)',
        'AutoModel.from_pretrained(x, trust_remote_code=trusted)',
        'import pickle',
        'from pickle import loads',
        'import joblib',
        'pickle.loads(data)',
        'pandas.read_pickle(path)',
        'subprocess.run(text, shell=True)',
        'os.system(text)',
    ],
)
def test_each_way_to_run_code_is_found(source):
    assert list(findings(source, 'data/x.py'))


@pytest.mark.parametrize(
    'source',
    [
        'model.eval()',
        'torch.load(path, map_location="cpu", weights_only=True)',
        'np.load(path)',
        'np.load(path, allow_pickle=False)',
        'yaml.load(text, YAML_LOADER)',
        'yaml.safe_load(text)',
        're.compile(x)',
    ],
)
def test_what_is_harmless_is_not_found(source):
    assert not list(findings(source, 'data/x.py'))


def test_the_unpickler_may_be_used_in_its_own_module_only():
    source = 'import pickle\nclass U(pickle._Unpickler): pass'
    assert not list(findings(source, 'data/public/pickled.py'))
    assert list(findings(source, 'data/other.py'))
    assert list(findings('import pickle\npickle.load(file)', 'data/public/pickled.py'))
