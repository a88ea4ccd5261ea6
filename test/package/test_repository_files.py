# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Workflows, citation, issue forms and the site of the documents fit the repository."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

import vla_adapter_ros

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / '.github/workflows').glob('*.yml'))


def loaded(path: Path) -> dict:
    return yaml.safe_load(path.read_text('utf-8'))


def jobs() -> dict:
    return loaded(ROOT / '.github/workflows/ci.yml')['jobs']


def test_workflows_test_every_python_and_distribution_that_setup_takes():
    setup = (ROOT / 'scripts/setup.sh').read_text('utf-8')
    first, last = re.search(r'interpreter to build on \(3\.(\d+) to 3\.(\d+)', setup).groups()
    wanted = [f'3.{minor}' for minor in range(int(first), int(last) + 1)]
    assert jobs()['without-ros']['strategy']['matrix']['python'] == wanted
    pages = (ROOT / 'docs/distributions.md').read_text('utf-8')
    named = {name.lower() for name in re.findall(r'^\| (\w+) \(to 20', pages, re.MULTILINE)}
    assert set(jobs()['ros']['strategy']['matrix']['distribution']) == named


@pytest.mark.parametrize('workflow', WORKFLOWS, ids=lambda path: path.name)
def test_workflows_name_files_that_exist(workflow):
    text = workflow.read_text('utf-8')
    for name in re.findall(r'(?<![\w/-])(?:requirements|scripts|\.ci|test)/[\w./-]*\w', text):
        assert (ROOT / name).exists(), name
    makefile = (ROOT / 'Makefile').read_text('utf-8')
    for target in re.findall(r'run: make ([\w-]+)', text):
        assert f'\n{target}:' in makefile, target


def test_a_job_of_its_own_runs_exports_in_their_engines():
    """Without the engines, as in every other job and after `make setup`, they are skipped."""
    engines, tests = 'requirements/export.txt', 'test/inference/test_export.py'
    with_engines = {name for name, job in jobs().items() if engines in yaml.safe_dump(job)}
    assert with_engines == {'export'}
    commands = ' '.join(step.get('run', '') for step in jobs()['export']['steps'])
    assert re.search(rf'pytest .*-m slow {tests}', commands)
    for package in (ROOT / engines).read_text('utf-8').splitlines():
        if not package.startswith('#'):
            name = package.partition('>')[0]
            assert re.search(rf'python -c .import[^\n]*\b{name}\b', commands), name
    makefile = (ROOT / 'Makefile').read_text('utf-8')
    assert 'export' not in re.search(r'^ALL_GROUPS := (.*)$', makefile, re.MULTILINE)[1].split()


@pytest.mark.skipif(shutil.which('actionlint') is None, reason='actionlint is not installed')
def test_actionlint_has_nothing_to_say_about_the_workflows():
    subprocess.run(['actionlint', *WORKFLOWS], cwd=ROOT, check=True)


def test_issue_forms_ask_for_something():
    forms = list((ROOT / '.github/ISSUE_TEMPLATE').glob('*.yml'))
    assert len(forms) > 2
    for form in map(loaded, (path for path in forms if path.name != 'config.yml')):
        assert form['name'] and form['description']
        fields = [item for item in form['body'] if item['type'] != 'markdown']
        assert fields and len({item['id'] for item in fields}) == len(fields)
        assert any(item.get('validations', {}).get('required') for item in fields)


def test_citation_has_the_version_and_the_licence_of_the_package():
    citation = loaded(ROOT / 'CITATION.cff')
    assert citation['version'] == vla_adapter_ros.__version__
    assert citation['license'] == 'Apache-2.0' and citation['title'] == 'vla_adapter_ros'


def test_the_site_has_every_page_of_the_documents():
    pages = {page for entry in loaded(ROOT / 'mkdocs.yml')['nav'] for page in entry.values()}
    assert pages == {path.name for path in (ROOT / 'docs').glob('*.md')}


@pytest.mark.slow(reason='builds the whole site')
@pytest.mark.skipif(find_spec('mkdocs') is None, reason='mkdocs is not installed')
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-d', str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)
