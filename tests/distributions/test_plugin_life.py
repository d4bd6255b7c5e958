"""The life of a plugin, from wheels in a fresh environment: installed, used, uninstalled, installed again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.places import FLOW, ROOT
from tests.helpers.strangers import with_path

pytestmark = [pytest.mark.trains, pytest.mark.slow]

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """Wheels of aepipe and aepipe-flow, built as they would be published."""
    out = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, FLOW):
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, project]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return {path.name.partition("-")[0]: path for path in out.glob("*.whl")}


class Environment:
    """A virtual environment whose third-party packages are those of this one, without this one's aepipe."""

    def __init__(self, folder: Path):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        scripts = "Scripts" if os.name == "nt" else "bin"
        self.folder, self.python = folder, folder / scripts / "python"
        self.packages = Path(
            self.call(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
        )

    def share(self) -> None:
        """Add this environment's packages behind its own. Files .pth in a folder that is added so are not read: an aepipe
        that is installed editable here stays out of it."""
        import numpy

        (self.packages / "outer.pth").write_text(str(Path(numpy.__file__).parents[1]))

    def call(self, *command: object, cwd: Path | None = None) -> Done:
        environment = with_path()
        del environment["PYTHONPATH"]
        return subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=cwd, env=environment)

    def pip(self, *arguments: object) -> None:
        options = ("--quiet", "--disable-pip-version-check", "--python", self.python)
        done = self.call(sys.executable, "-m", "pip", *options, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    def aepipe(self, *arguments: object) -> Done:
        return self.call(self.python, "-m", "aepipe", *arguments, cwd=self.folder)

    def works(self, *arguments: object) -> str:
        done = self.aepipe(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def environment(wheels, tmp_path_factory) -> Environment:
    """Both wheels installed, a run trained and exported with the flow, the flow uninstalled."""
    fresh = Environment(tmp_path_factory.mktemp("life") / "env")
    fresh.pip("install", "--no-deps", "--no-index", *wheels.values())
    fresh.share()
    parts = ("--data", "digits:size=8", "--encoder", "mlp:hidden=32", "--decoder", "mlp:hidden=32")
    flow = ("--density", "flow:layers=2,hidden=8,epochs=3")
    fresh.works("train", *parts, *flow, "--latent-dim", 4, "--epochs", 1, "-o", "run")
    fresh.works("export", "run", "-o", "bundle")
    fresh.before = json.loads(fresh.works("plugins", "--json"))  # type: ignore[attr-defined]
    fresh.pip("uninstall", "--yes", "aepipe-flow")
    return fresh


def test_the_wheels_hold_what_they_should(wheels):
    names = {which: zipfile.ZipFile(path).namelist() for which, path in wheels.items()}
    tops = {name.partition("/")[0] for name in names["aepipe"]}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"aepipe", "aepipe_builtins"}
    assert {"aepipe/py.typed", "aepipe_builtins/py.typed"} <= set(names["aepipe"])
    homes = [ROOT / "pipeline" / "aepipe" / each for each in ("explore/web", "plugins/template")]
    sources = {path for home in homes for path in home.rglob("*") if path.is_file()}
    assert len(sources) >= 15
    assert {path.relative_to(ROOT / "pipeline").as_posix() for path in sources} <= set(names["aepipe"])
    tops = {name.partition("/")[0] for name in names["aepipe_flow"]}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"aepipe_flow"}


def test_the_wheels_are_what_was_used(environment):
    where = environment.call(environment.python, "-c", "import aepipe; print(aepipe.__file__)").stdout
    assert Path(where.strip()).is_relative_to(environment.packages)
    (flow,) = [plugin for plugin in environment.before if plugin["distribution"] == "aepipe-flow"]
    assert flow["version"] == "0.1.0" and flow["components"] == ["density:flow"] and not flow["errors"]
    left = json.loads(environment.works("plugins", "--json"))
    names = {plugin["distribution"] for plugin in left}
    assert "aepipe" in names and "aepipe-flow" not in names


def test_the_bundle_runs_without_the_plugin(environment):
    environment.works("infer", "sample", "bundle", "--density", "flow", "--count", 3, "-o", "samples.npy")
    environment.works("infer", "score", "bundle", "digits:size=8[:20]", "--density", "flow", "-o", "scores.csv")
    assert len((environment.folder / "scores.csv").read_text().splitlines()) == 21
    environment.works("inspect", "bundle")


@pytest.mark.parametrize(
    "command",
    [("train", "--resume", "run", "--epochs", "2"), ("fit-density", "run", "flow"), ("export", "run", "-o", "again")],
)
def test_the_run_without_the_plugin_names_what_to_install(environment, command):
    done = environment.aepipe(*command)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines() == [
        "error: density 'flow' of aepipe-flow==0.1.0 is needed and not installed",
        "hint: pip install 'aepipe-flow==0.1.0'",
    ]
    assert not (environment.folder / "again").exists()


def test_another_density_can_still_be_fitted_to_the_run(environment):
    environment.works("fit-density", "run", "one=pca:components=1")


def test_installed_again_the_run_is_whole(environment):
    """Editable this time."""
    environment.pip("install", "--no-deps", "--no-index", "--no-build-isolation", "--editable", FLOW)
    (flow,) = [each for each in json.loads(environment.works("plugins", "--json")) if each["name"] == "flow"]
    assert (flow["distribution"], flow["version"], flow["errors"]) == ("aepipe-flow", "0.1.0", [])
    names = "from aepipe import Run; print(*Run('run').densities())"
    assert environment.call(environment.python, "-c", names, cwd=environment.folder).stdout.split() == ["flow", "one"]


def test_a_plugin_in_a_zip_file_is_found(wheels, cli):
    """A wheel on the path is one."""
    found = json.loads(cli("list", "density", "flow", "--json", env=with_path(wheels["aepipe_flow"])).stdout)
    assert (found["plugin"], found["version"]) == ("aepipe-flow", "0.1.0")
