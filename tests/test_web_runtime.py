"""onnxruntime-web: fetched once, from a real HTTP server on this machine, checked and cached."""

from __future__ import annotations

import io
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import aepipe
import pytest
from aepipe.explore import web_runtime
from aepipe.files.cache import sha256_of


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str]

    def log_message(self, *arguments):
        self.asked.append(self.path)


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry on this machine with a package of three small files, no npm, an empty cache."""
    files = {name: name.encode() * 9 for name in web_runtime.SHA256}
    for name, content in files.items():
        monkeypatch.setitem(web_runtime.SHA256, name, sha256_of(content))
    site = tmp_path / "site"
    site.mkdir()

    def publish(files: dict[str, bytes]) -> None:
        with tarfile.open(site / "package.tgz", "w:gz") as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(f"package/dist/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))

    publish(files)
    Quiet.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(web_runtime, "REGISTRY", f"http://127.0.0.1:{server.server_port}/package.tgz")
    monkeypatch.setattr(web_runtime.shutil, "which", lambda name: None)
    monkeypatch.setenv("AEPIPE_CACHE", str(tmp_path / "cache"))
    yield files, publish
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_runtime_is_fetched_once_and_checked(registry, tmp_path):
    files, publish = registry
    assert web_runtime.web_runtime() == files and len(Quiet.asked) == 1
    assert web_runtime.web_runtime() == files and len(Quiet.asked) == 1
    (cached,) = (tmp_path / "cache").rglob("*.wasm")
    cached.write_bytes(b"cut off")
    assert web_runtime.web_runtime() == files and len(Quiet.asked) == 2
    assert web_runtime.web_runtime(cached.parent) == files
    cached.write_bytes(b"cut off")
    publish({**files, cached.name: b"another"})
    with pytest.raises(aepipe.AepipeError, match="wrong content"):
        web_runtime.web_runtime()
    with pytest.raises(aepipe.BadInput, match="another version"):
        web_runtime.web_runtime(cached.parent)


def test_without_a_network_the_ways_out_are_named(registry, monkeypatch, call, digits_bundle, tmp_path):
    monkeypatch.setattr(web_runtime, "REGISTRY", "http://127.0.0.1:9/package.tgz")
    outcome = call("explore", digits_bundle, "-o", tmp_path / "page.html")
    assert outcome.code == 1 and "cannot be fetched" in outcome.err
    assert "--cdn" in outcome.err and "--runtime" in outcome.err and not (tmp_path / "page.html").exists()
