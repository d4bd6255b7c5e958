"""Gets onnxruntime-web, which runs graphs in a browser: the three files that a page needs, of one version, checked and cached."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from base64 import b64encode
from http.client import HTTPException
from pathlib import Path

from aepipe.errors import AepipeError, BadInput
from aepipe.files.cache import cache_folder, fetch, keep, make_folder, sha256_of
from aepipe.files.regular import read_regular
from aepipe.progress import say

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SHA256 = {
    "ort.wasm.min.js": "faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
REGISTRY = f"https://registry.npmjs.org/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz"
CDN = f"https://cdn.jsdelivr.net/npm/{PACKAGE}@{VERSION}/dist/"
NPM_SECONDS = 600
WAYS_OUT = (
    f"try again online, give an unpacked {PACKAGE} {VERSION} with --runtime FOLDER, "
    "or write a page that loads it when it is opened: --cdn"
)


def integrity(file: str) -> str:
    """The SHA-256 that a file must have, in the form that browsers check."""
    return "sha256-" + b64encode(bytes.fromhex(SHA256[file])).decode()


def web_runtime(folder: str | Path | None = None) -> dict[str, bytes]:
    """The content of the files by name: from `folder` (the package or its `dist`), else from the cache.

    If the cache does not hold them, they are fetched from the registry once. Raises BadInput if the folder does not hold this
    version, and AepipeError if the files cannot be fetched.
    """
    if folder is not None:
        return _given(Path(folder).expanduser())
    cached = cache_folder() / f"{PACKAGE}-{VERSION}"
    files = _read(cached)
    if files is None:
        make_folder(cached)
        files = _from_package(_package())
        for name, content in files.items():
            keep(content, cached / name)
    return files


def _given(folder: Path) -> dict[str, bytes]:
    dist = folder / "dist" if (folder / "dist").is_dir() else folder
    files = _read(dist)
    if files is None:
        missing = [name for name in SHA256 if not (dist / name).is_file()]
        why = f"it has no {missing[0]}" if missing else "its files are of another version (SHA-256 differs)"
        way = f"npm pack {PACKAGE}@{VERSION}, unpack it, and give its folder package/dist"
        raise BadInput(f"{folder} is not {PACKAGE} {VERSION}: {why}", way)
    return files


def _read(folder: Path) -> dict[str, bytes] | None:
    """The files of a folder; None unless all are there with the right content."""
    try:
        files = {name: read_regular(folder / name) for name in SHA256}
    except OSError:
        return None
    return files if all(sha256_of(files[name]) == SHA256[name] for name in SHA256) else None


def _package() -> bytes:
    """Fetch the package by npm, which knows the user's registry; if that fails, fetch it from the public registry."""
    failures = []
    if npm := shutil.which("npm"):
        say(f"fetching {PACKAGE} {VERSION} with npm, once (33 MB)")
        with tempfile.TemporaryDirectory() as folder:
            command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", folder, "--silent"]
            try:
                subprocess.run(
                    command, cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=NPM_SECONDS
                )
                return next(Path(folder).glob("*.tgz")).read_bytes()
            except subprocess.CalledProcessError as error:
                lines = error.stderr.decode(errors="replace").split("\n")
                failures.append(f"npm: {next((line for line in lines if line.strip()), 'failed')}")
            except (OSError, StopIteration, subprocess.TimeoutExpired) as error:
                failures.append(f"npm: {error or 'no file'}")
    try:
        return fetch(REGISTRY, f"{PACKAGE} {VERSION}")
    except (OSError, ValueError, HTTPException) as error:
        failures.append(f"{REGISTRY}: {error or type(error).__name__}")
    raise AepipeError(f"{PACKAGE} {VERSION} cannot be fetched: {'; '.join(failures)}", WAYS_OUT)


def _from_package(package: bytes) -> dict[str, bytes]:
    files = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as archive:
            for name in SHA256:
                member = archive.extractfile(f"package/dist/{name}")
                files[name] = member.read() if member else b""
    except (tarfile.TarError, KeyError, EOFError, OSError, zlib.error) as error:
        raise AepipeError(f"the package of {PACKAGE} {VERSION} is damaged: {error}", WAYS_OUT) from None
    for name, content in files.items():
        if sha256_of(content) != SHA256[name]:
            raise AepipeError(f"{name} of {PACKAGE} {VERSION} has wrong content (SHA-256 differs)", WAYS_OUT)
    return files
