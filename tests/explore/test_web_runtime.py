"""onnxruntime-web: fetched once, from a real HTTP server on this machine, checked and cached."""

from __future__ import annotations

import io
import tarfile

import aepipe
import pytest
from aepipe.explore import web_runtime
from aepipe.files.cache import sha256_of

from tests.helpers.serving import served


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
    monkeypatch.setattr(web_runtime.shutil, "which", lambda name: None)
    monkeypatch.setenv("AEPIPE_CACHE", str(tmp_path / "cache"))
    with served(site) as (url, asked):
        monkeypatch.setattr(web_runtime, "REGISTRY", f"{url}package.tgz")
        yield files, publish, asked


def test_the_runtime_is_fetched_once_and_checked(registry, tmp_path):
    files, publish, asked = registry
    assert web_runtime.web_runtime() == files and len(asked) == 1
    assert web_runtime.web_runtime() == files and len(asked) == 1
    (cached,) = (tmp_path / "cache").rglob("*.wasm")
    cached.write_bytes(b"cut off")
    assert web_runtime.web_runtime() == files and len(asked) == 2
    assert web_runtime.web_runtime(cached.parent) == files
    cached.write_bytes(b"cut off")
    publish({**files, cached.name: b"another"})
    with pytest.raises(aepipe.AepipeError, match="wrong content"):
        web_runtime.web_runtime()
    with pytest.raises(aepipe.BadInput, match="another version"):
        web_runtime.web_runtime(cached.parent)


def test_without_a_network_the_ways_out_are_named(registry, monkeypatch, call, kept_bundle, tmp_path):
    monkeypatch.setattr(web_runtime, "REGISTRY", "http://127.0.0.1:9/package.tgz")
    outcome = call("explore", kept_bundle, "-o", tmp_path / "page.html")
    assert outcome.code == 1 and "cannot be fetched" in outcome.err
    assert "--cdn" in outcome.err and "--runtime" in outcome.err and not (tmp_path / "page.html").exists()
