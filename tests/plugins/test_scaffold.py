"""`aepipe plugins new`: what it writes installs, passes its own tests and trains; what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from aepipe import BadInput
from aepipe.plugins.scaffold import OFFERED, new_plugin

from tests.helpers.folders import contents
from tests.helpers.strangers import with_path


def run(*command: object, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", *map(str, command)], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def written(tmp_path_factory, cli) -> Path:
    folder = tmp_path_factory.mktemp("scaffold")
    done = cli("plugins", "new", "aepipe-two-photon", cwd=folder)
    assert done.returncode == 0 and not done.stdout, done
    assert "pip install -e './aepipe-two-photon[test]'" in done.stderr and "aepipe train" in done.stderr
    return folder / "aepipe-two-photon"


@pytest.fixture(scope="module")
def everything(tmp_path_factory, cli) -> Path:
    """One of each kind."""
    folder = tmp_path_factory.mktemp("everything")
    done = cli("plugins", "new", "many", *(word for kind in OFFERED for word in ("--kind", kind)), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "aepipe-many"


@pytest.fixture(scope="module")
def installed(written, everything, tmp_path_factory) -> Path:
    """The folder that their wheels are installed in."""
    folder = tmp_path_factory.mktemp("installed")
    for each in (written, everything):
        run("build", "--wheel", "--no-isolation", "--outdir", folder / "dist", each, cwd=folder)
    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check", "--target")
    run("pip", "install", *options, folder, *(folder / "dist").glob("*.whl"), cwd=folder)
    return folder


def test_it_is_a_whole_distribution(written):
    files = {str(path.relative_to(written)) for path in written.rglob("*") if path.is_file()}
    assert files >= {"pyproject.toml", "README.md", "aepipe_two_photon.py", "tests/test_aepipe_two_photon.py"}
    project = tomllib.loads((written / "pyproject.toml").read_text())["project"]
    assert project["name"] == "aepipe-two-photon"
    assert project["entry-points"]["aepipe"] == {"two-photon": "aepipe_two_photon"}
    for path in files:
        text = (written / path).read_text()
        assert "$" not in text, f"{path} has a placeholder left"


@pytest.mark.parametrize("kind", OFFERED)
def test_one_of_each_kind_is_as_ruff_wants_it(kind, tmp_path):
    folder, commands = new_plugin("wave", tmp_path, [kind])
    assert all(line.startswith("aepipe ") for line in commands) and "wave" in " ".join(commands)
    own = "lint.isort.known-first-party=['aepipe_wave']"
    rules = ("--isolated", "--line-length", "120", "--no-cache")
    run("ruff", "check", *rules, "--select", "E,F,I,B,UP", "--config", own, ".", cwd=folder)
    run("ruff", "format", *rules, "--check", ".", cwd=folder)


def test_a_kind_that_is_none_is_refused(cli, tmp_path):
    done = cli("plugins", "new", "wave", "--kind", "objectve", cwd=tmp_path)
    assert done.returncode == 2 and "did you mean 'objective'?" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_installed_it_offers_an_encoder_a_decoder_and_a_density(installed, cli):
    found = json.loads(cli("plugins", "--json", env=with_path(installed)).stdout)
    (plugin,) = [each for each in found if each["distribution"] == "aepipe-two-photon"]
    assert plugin["components"] == ["encoder:two-photon", "decoder:two-photon", "density:two-photon"]
    assert plugin["errors"] == plugin["notes"] == []
    for kind in ("encoder", "decoder", "density"):
        options = json.loads(cli("list", kind, "two-photon", "--json", env=with_path(installed)).stdout)["options"]
        assert options and all(option["help"] and option["default"] is not None for option in options)


@pytest.mark.slow
def test_installed_it_offers_one_of_each_kind(installed, cli):
    found = json.loads(cli("plugins", "--json", env=with_path(installed)).stdout)
    (plugin,) = [each for each in found if each["distribution"] == "aepipe-many"]
    assert sorted(plugin["components"]) == sorted(f"{kind}:many" for kind in OFFERED if kind != "callback")
    assert plugin["errors"] == plugin["notes"] == []
    assert {"epoch_finished", "run_finished"} <= set(plugin["hooks"])


@pytest.mark.trains
@pytest.mark.slow
def test_its_own_tests_pass_and_it_trains(everything, installed, tmp_path):
    """They include the conformance kit and a training run with export and sampling."""
    sources = shutil.copytree(everything, tmp_path / "sources")
    done = run("pytest", "-p", "no:cacheprovider", "tests", cwd=sources, env=with_path(installed))
    assert "15 passed" in done.stdout


def test_an_existing_folder_is_left_alone(written, cli):
    before = contents(written)
    done = cli("plugins", "new", "two-photon", cwd=written.parent)
    assert done.returncode == 2 and "aepipe-two-photon exists" in done.stderr
    assert contents(written) == before


@pytest.mark.parametrize(
    "name", ["Wave", "a b", "1st", "wave_let", "wave--let", "-x", "../x", "", "aepipe-", "über", "class", "builtins"]
)
def test_bad_names_are_refused(name, tmp_path):
    with pytest.raises(BadInput) as refusal:
        new_plugin(name, tmp_path)
    assert refusal.value.hint and not list(tmp_path.iterdir())


def test_a_name_that_is_taken_is_refused(tmp_path):
    with pytest.raises(BadInput, match="encoder 'conv' of aepipe"):
        new_plugin("conv", tmp_path)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path, cli):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="file") as refusal:
        new_plugin("wave", tmp_path / "file")
    assert type(refusal.value).__module__ == "aepipe.errors"
