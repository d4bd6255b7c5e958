"""What many tests share: surroundings that are always the same, and trained runs and bundles that are made once, never changed."""

from __future__ import annotations

import functools
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.images import blobs
from tests.helpers.places import MNIST, ROOT

# Before aepipe is imported: what the shell says of terminals and languages, and what a user has set for aepipe, changes no
# result, here and in children. Where data and downloads lie may be said.
_SHELL = {"COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR", "PAGER", "LANG", "LANGUAGE"}
_USERS = {_name for _name in os.environ if _name.startswith("AEPIPE_")} - {"AEPIPE_DATA", "AEPIPE_CACHE"}
for _name in _SHELL | _USERS:
    os.environ.pop(_name, None)
os.environ["LC_ALL"] = "C.UTF-8"
if sys.getfilesystemencoding() != "utf-8":
    pytest.exit("the tests name files in several languages: unset PYTHONUTF8, or choose a UTF-8 locale", returncode=4)
if "PYTEST_XDIST_WORKER" in os.environ:  # several torch processes with a thread a core each slow one another down
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell without job control starts what runs in the background deaf to Ctrl-C, and children inherit that.
# The same holds of nohup and SIGHUP.
if threading.current_thread() is threading.main_thread():
    for _number, _usual in (
        (signal.SIGINT, signal.default_int_handler),
        (getattr(signal, "SIGHUP", None), signal.SIG_DFL),
    ):
        if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
            signal.signal(_number, _usual)

gc.set_threshold(100_000, 50, 1000)  # as the command line does

# How long an example takes says how busy the machine is.
settings.register_profile("aepipe", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aepipe")

# Fixtures that train a network or export one; a test that uses one of them, itself or through another, is marked `trains`.
TRAINING = {
    "colour_bundle",
    "colour_run",
    "digits_run",
    "killed",
    "linear_bundle",
    "ones",
    "other_bundle",
    "small_judge",
    "small_run",
    "together",
    "trained",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if TRAINING & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.trains)
    # What takes long comes first, so that at the end no process waits for the other's longest file.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def _every_manifest_fits_the_schema():
    """Whatever manifest this process writes is one that the published schema describes."""
    import jsonschema
    from aepipe.bundle.manifest import Manifest
    from aepipe.files.records import to_json

    files = {1: "manifest-1.schema.json", 2: "manifest.schema.json"}
    validators = {
        version: jsonschema.Draft202012Validator(json.loads((ROOT / "docs" / file).read_text()))
        for version, file in files.items()
    }
    write = Manifest.write

    def checked(manifest: Manifest, folder: Path) -> None:
        entries = json.loads(to_json(manifest.entries()))
        validators[entries["format"]].validate(entries)
        write(manifest, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Manifest, "write", checked)
        yield


def pytest_runtest_setup(item: pytest.Item) -> None:
    """torch makes the same table of all operators anew for each export, which takes half of the time of a small one."""
    module = sys.modules.get("torch.onnx._internal.exporter._registration")
    if module and not hasattr(module.ONNXRegistry.from_torchlib, "cache_info"):
        made = functools.cache(module.ONNXRegistry.from_torchlib.__func__)
        module.ONNXRegistry.from_torchlib = classmethod(made)


Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Run `aepipe ARGS` in a process of its own."""

    def call(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None, **more: object):
        command = [sys.executable, "-m", "aepipe", *map(str, arguments)]
        environment = {**os.environ, **(env or {})}
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, **more)  # type: ignore[call-overload]

    return call


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run `aepipe ARGS` in this process, twenty times faster; a traceback is an exception here."""
    from aepipe.cli import run

    def inner(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return inner


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """AEPIPE_DATA, or skip."""
    folder = os.environ.get("AEPIPE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("AEPIPE_DATA is not set")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def kept_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that the repository holds, for whatever needs a bundle and not a fresh one: MNIST, d=8, three densities."""
    if not MNIST.is_dir():
        pytest.skip("exported/mnist-d8 is not in this copy")
    return Path(shutil.copytree(MNIST, tmp_path_factory.mktemp("kept") / "digits"))


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory):
    """conv/deconv, d=4, two epochs on 600 digits."""
    import aepipe

    out = tmp_path_factory.mktemp("runs") / "digits"
    return aepipe.fit("digits", latent_dim=4, epochs=2, limit=600, out=out, show=False)


@pytest.fixture(scope="session")
def digits_bundle(digits_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_run.export(tmp_path_factory.mktemp("exported") / "digits", show=False)


@pytest.fixture(scope="session")
def colour_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colour, not square, 20 latent numbers, no labels, and a name that HTML has to escape."""
    import aepipe
    import numpy as np

    images = np.random.default_rng(0).random((80, 3, 6, 8), dtype=np.float32).repeat(2, 2).repeat(2, 3)
    home = tmp_path_factory.mktemp("colour")
    run = aepipe.fit(images, encoder="pca", decoder="pca", latent_dim=20, out=home / "run", show=False)
    bundle = run.export(home / "bundle", show=False)
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "name": "<b>&amp; </script><!--"}))
    return bundle


@pytest.fixture(scope="session")
def web_files() -> dict[str, bytes]:
    """onnxruntime-web, from the cache or the network, or skip."""
    from aepipe import AepipeError
    from aepipe.explore import web_runtime

    try:
        return web_runtime.web_runtime()
    except AepipeError as error:
        pytest.skip(error.message)


@pytest.fixture
def infer(call, kept_bundle: Path):
    """`aepipe infer TASK BUNDLE ARGS` on the CPU, which must succeed; returns what it printed."""

    def inner(task: str, *arguments: object, code: int = 0):
        outcome = call("infer", "--provider", "cpu", task, kept_bundle, *arguments)
        assert outcome.code == code, outcome.err
        return outcome

    return inner


@pytest.fixture
def register():
    """Register plugin objects for one test."""
    from aepipe import plugins

    added = []

    def add(plugin_object: object, name: str):
        added.append(plugins.registry().register(plugin_object, name))
        return added[-1]

    yield add
    for plugin in added:
        plugins.registry().unregister(plugin)


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A file of 80 small images."""
    import numpy as np

    np.save(tmp_path / "images.npy", blobs())
    return str(tmp_path / "images.npy")
