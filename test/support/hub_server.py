# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A cache of the Hub, and a server that speaks as much of its protocol as one repository needs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


def put_into_cache(
    made: Path, cache: Path, commit: str, *names: str, repo: str = 'datasets--lab--pick'
) -> Path:
    """Move a folder to where huggingface_hub keeps a commit of `repo`, also called `names`."""
    root = cache / repo
    blobs, snapshot = root / 'blobs', root / 'snapshots' / commit
    for number, file in enumerate(f for f in made.rglob('*') if f.is_file()):
        link, blob = snapshot / file.relative_to(made), blobs / f'{commit}-{number}'
        for folder in (blobs, link.parent, root / 'refs'):
            folder.mkdir(parents=True, exist_ok=True)
        file.replace(blob)
        link.symlink_to(os.path.relpath(blob, link.parent))
    for name in names:
        (root / 'refs' / name).write_text(commit)
    return snapshot


class Repository:
    """One dataset or model: files by name, tags by name, and the requests that made it."""

    def __init__(self) -> None:
        self.place = ''
        self.files: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.created: dict[str, object] = {}
        self.commit = '0' * 40

    def take(self, lines: list[dict]) -> None:
        for line in lines:
            value = line['value']
            if line['key'] == 'file':
                self.files[value['path']] = base64.b64decode(value['content'])
            elif line['key'] == 'deletedFile':
                del self.files[value['path']]
        self.commit = hashlib.sha1(json.dumps(lines).encode()).hexdigest()

    def listing(self) -> list[dict]:
        return [
            {
                'type': 'file', 'path': name, 'size': len(data),
                'oid': hashlib.sha1(data).hexdigest(),
            }
            for name, data in self.files.items()
        ]

    def answer(self, method: str, path: str, body: bytes) -> tuple[object, str]:
        """Return what is answered (JSON data or bytes), and the name of the file it is."""
        if path == '/api/repos/create':
            self.created = json.loads(body)
            return {'url': self.place}, ''
        if path == '/api/validate-yaml':
            return {'errors': [], 'warnings': []}, ''
        if '/resolve/' in path:
            name = unquote(path.partition('/resolve/')[2].partition('/')[2])
            return self.files[name], name
        words = path.partition('lab/pick')[2].strip('/').split('/')
        if words[0] == 'preupload':
            paths = [file['path'] for file in json.loads(body)['files']]
            plain = {'uploadMode': 'regular', 'shouldIgnore': False}
            return {'files': [{'path': name, **plain} for name in paths]}, ''
        if words[0] == 'commit':
            self.take([json.loads(line) for line in body.splitlines()])
            url = f'{self.place}/commit/{self.commit}'
            return {'success': True, 'commitUrl': url, 'commitOid': self.commit}, ''
        if words[0] == 'tag':
            if method == 'DELETE':
                del self.tags[words[1]]
            else:
                self.tags[json.loads(body)['tag']] = words[1]
            return {}, ''
        if words[0] == 'refs':
            tags = [
                {'name': name, 'ref': f'refs/tags/{name}', 'targetCommit': commit}
                for name, commit in self.tags.items()
            ]
            return {'branches': [], 'converts': [], 'tags': tags}, ''
        if words[0] == 'tree':
            return self.listing(), ''
        siblings = [{'rfilename': f['path'], 'size': f['size']} for f in self.listing()]
        return {'id': 'lab/pick', 'sha': self.commit, 'siblings': siblings}, ''


@contextmanager
def hub_server() -> Iterator[tuple[str, Repository]]:
    """Yield the address of a running server, and its only repository `lab/pick`."""
    repository = Repository()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
            try:
                found, name = repository.answer(self.command, self.path.partition('?')[0], body)
            except KeyError:
                self.send_error(404)
                return
            data = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(200)
            if name:
                self.send_header('ETag', f'"{hashlib.sha1(data).hexdigest()}"')
                self.send_header('X-Repo-Commit', repository.commit)
            else:
                self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(data)))
            self.end_headers()
            if self.command != 'HEAD':
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = do_DELETE = _serve

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02}).start()
    try:
        address = f'http://127.0.0.1:{server.server_port}'
        repository.place = f'{address}/datasets/lab/pick'
        yield address, repository
    finally:
        server.shutdown()
        server.server_close()
