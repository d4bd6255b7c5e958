"""A bad plugin never hurts anyone: each fault is one sentence in `aepipe plugins`, and the rest works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import python
from tests.helpers.strangers import install, with_path

HEAD = "from aepipe import hookimpl\n\n"
ENCODER = (
    HEAD
    + '''
@hookimpl
def register_encoders(register):
    register(make, name="{name}")

def make(shape, features, *, levels: int = 3):
    """An encoder.

    levels: how many
    """
    from math import prod
    from torch import nn
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), features))
'''
)

# Distribution: its module, and what its one error (or note) says.
FAULTS = {
    "aepipe-dependency": (
        "import not_installed_anywhere\n",
        "cannot load aepipe_dependency: ModuleNotFoundError: No module",
    ),
    "aepipe-broken": ("raise RuntimeError('first line\\nsecond line')\n", "RuntimeError: first line second line"),
    "aepipe-syntax": ("def (:\n", "SyntaxError"),
    "aepipe-leaves": ("import sys\nprint('bye')\nsys.exit(3)\n", "cannot load aepipe_leaves: SystemExit: 3"),
    "aepipe-gone": (None, "cannot load aepipe_gone: ModuleNotFoundError"),
    "aepipe-misspelt": (
        HEAD + "@hookimpl\ndef register_encoder(register):\n    pass\n",
        "there is no hook 'register_encoder': did you mean 'register_encoders'?",
    ),
    "aepipe-parameter": (HEAD + "@hookimpl\ndef register_encoders(add):\n    pass\n", "cannot load aepipe_parameter"),
    "aepipe-raises": (
        HEAD
        + "@hookimpl\ndef register_encoders(register):\n    register(lambda shape, features: None, name='early')\n"
        + "    raise KeyError('late')\n",
        "register_encoders raised: KeyError: 'late'",
    ),
    "aepipe-quits": (
        HEAD + "@hookimpl\ndef register_encoders(register):\n    raise SystemExit\n",
        "register_encoders raised",
    ),
    "aepipe-fragile": (
        HEAD
        + "@hookimpl\ndef register_encoders(register):\n    register(fragile)\n\n"
        + "def fragile(shape, features):\n    'Breaks.'\n    return 1 / 0\n",
        "encoder 'fragile': its factory raised: ZeroDivisionError: division by zero",
    ),
    "aepipe-required": (
        HEAD
        + "@hookimpl\ndef register_encoders(register):\n    register(required)\n\n"
        + "def required(shape, features, *, levels: int):\n    'Needs levels.'\n",
        "encoder 'required' needs the option 'levels'",
    ),
    "aepipe-odd": (ENCODER.format(name="Odd Name!"), "encoder 'Odd Name!' is not usable"),
    "aepipe-copy": (ENCODER.format(name="conv"), "encoder 'conv' collides with that of aepipe, which stays"),
    "aepipe-first": (
        HEAD
        + "@hookimpl(trylast=True)\ndef register_decoders(register):\n    register(lambda latent, shape: None, name='deconv')\n",
        "decoder 'deconv' collides with that of aepipe, which stays",
    ),
    "aepipe-twin": (ENCODER.format(name="twin"), ""),
    "aepipe-twin-two": (ENCODER.format(name="twin"), "encoder 'twin' collides with that of aepipe-twin"),
    "aepipe-trainer": (
        "import click\n" + HEAD + "@hookimpl\ndef register_commands(cli):\n    @cli.command()\n    def train():\n"
        "        print('mine')\n\n    @cli.command()\n    def greet():\n        print('hello')\n",
        "command 'train' exists already and stays as it is",
    ),
    "aepipe-talks": ("print('hello from a plugin')\n" + ENCODER.format(name="talks"), ""),
}


@pytest.fixture(scope="module")
def bad(tmp_path_factory) -> Path:
    """All of them in one folder, and one that shares the module of another."""
    folder = tmp_path_factory.mktemp("bad")
    for name, (code, _) in FAULTS.items():
        install(folder, name, code)
    install(folder, "aepipe-zz-shares", None, module="aepipe_talks")
    return folder


@pytest.fixture(scope="module")
def shown(bad, cli) -> dict[str, dict]:
    """What `aepipe plugins --json` says of each."""
    done = cli("plugins", "--json", env=with_path(bad))
    assert done.returncode == 0, done.stderr
    return {plugin["distribution"]: plugin for plugin in json.loads(done.stdout) if plugin["distribution"] != "aepipe"}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_one_sentence(shown, name):
    plugin, expected = shown[name], FAULTS[name][1]
    assert (plugin["name"], plugin["version"]) == (name.removeprefix("aepipe-"), "1.0")
    said = plugin["errors"] + plugin["notes"]
    assert len(said) == (1 if expected else 0), said
    assert not said or (expected in said[0] and "\n" not in said[0])


def test_what_is_good_about_a_bad_one_stays(shown):
    assert shown["aepipe-raises"]["components"] == ["encoder:early"]
    assert shown["aepipe-misspelt"]["hooks"] == [] and shown["aepipe-raises"]["hooks"] == ["register_encoders"]
    assert shown["aepipe-trainer"]["components"] == ["command:greet"]
    assert shown["aepipe-talks"]["components"] == ["encoder:talks"]
    assert shown["aepipe-required"]["errors"] == []


def test_a_module_that_two_distributions_claim_stays_with_the_first(shown):
    (error,) = shown["aepipe-zz-shares"]["errors"]
    assert "aepipe-talks" in error and "one entry point a module" in error


def test_the_table_shows_them_too(bad, cli):
    done = cli("plugins", env=with_path(bad))
    assert done.returncode == 0
    for name, (_, expected) in FAULTS.items():
        (line,) = [line for line in done.stdout.splitlines() if f"{name} 1.0" in line]
        assert expected in line


def test_none_stops_other_work(bad, cli, kept_bundle, tmp_path):
    env = with_path(bad)
    done = cli("infer", "sample", kept_bundle, "--count", 2, "-o", tmp_path / "x.npy", env=env)
    assert done.returncode == 0, done.stderr
    assert cli("greet", env=env).stdout.splitlines()[-1] == "hello"
    assert "Train an autoencoder" in cli("train", "--help", env=env).stdout
    listed = json.loads(cli("list", "encoder", "--json", env=env).stdout)
    assert {"conv", "identity", "mlp", "pca", "resnet", "resnet-map", "early", "fragile", "required", "talks"} == {
        each["name"] for each in listed
    }
    (conv,) = [each for each in listed if each["name"] == "conv"]
    assert conv["plugin"] == "aepipe"


ASK = """
from aepipe import AepipeError, plugins
for name in ("twin", "fragile", "required", "fragil", "required:levels=x"):
    try:
        plugins.create("encoder", name, (1, 8, 8), 4)
    except AepipeError as error:
        print(error.exit_code, error.message, "|", error.hint)
"""


def test_using_a_bad_one_is_one_sentence(bad):
    done = python(ASK, env=with_path(bad))
    twin, fragile, required, unknown, wrong = done.stdout.splitlines()
    assert twin.startswith("2 encoder 'twin' is registered by aepipe-twin 1.0 and aepipe-twin-two 1.0 |")
    assert fragile.startswith("1 encoder 'fragile' of aepipe-fragile 1.0 failed: ZeroDivisionError")
    assert required.startswith("2 encoder 'required' needs the option 'levels' |")
    assert "did you mean 'fragile'?" in unknown and "aepipe-broken" in unknown
    assert "a whole number is needed" in wrong


def test_load_plugins_restricts_what_is_loaded(bad, cli):
    def loaded(value: str) -> set[str]:
        found = json.loads(cli("plugins", "--json", env=with_path(bad, AEPIPE_LOAD_PLUGINS=value)).stdout)
        return {plugin["distribution"] for plugin in found}

    assert loaded("") == {"aepipe"}
    assert loaded("aepipe_Trainer, aepipe-leaves") == {"aepipe", "aepipe-trainer", "aepipe-leaves"}
    done = cli("list", "encoder", "talks", env=with_path(bad, AEPIPE_LOAD_PLUGINS=""))
    assert done.returncode == 2 and "AEPIPE_LOAD_PLUGINS is set" in done.stderr


def test_two_versions_of_one_plugin(tmp_path, cli):
    """Python imports the first on the path, so that one is named; the other is not mixed in."""
    install(tmp_path / "a", "aepipe-double", ENCODER.format(name="new"), version="2.0")
    install(tmp_path / "b", "aepipe-double", ENCODER.format(name="old"), version="1.0")
    found = json.loads(cli("plugins", "--json", env=with_path(tmp_path / "a", tmp_path / "b")).stdout)
    (plugin,) = [each for each in found if each["distribution"] == "aepipe-double"]
    assert plugin["version"] == "2.0" and plugin["components"] == ["encoder:new"]
    (error,) = plugin["errors"]
    assert error.startswith("installed twice, 2.0 in ") and "1.0 in" in error


def test_a_run_of_another_distribution_of_that_name_is_refused():
    from aepipe import BadInput, plugins

    record = {"name": "mlp", "options": {}, "plugin": "aepipe-other", "version": "3.1"}
    with pytest.raises(BadInput, match=r"encoder 'mlp' of aepipe-other==3\.1 is needed, but aepipe took that name"):
        plugins.choose("encoder", record)


# A program that counts the calls of functions in Python and in C that code makes: the same on a machine that is busy.
COUNTER = """
import sys
calls = 0
def count(frame, event, argument):
    global calls
    calls += event in ("call", "c_call")
sys.setprofile(count)
try:
    exec(sys.argv.pop(1))
except SystemExit:
    pass
sys.setprofile(None)
print(calls, file=sys.stderr)
"""
HELP = "from aepipe.__main__ import main; sys.argv[1:] = ['--help']; main()"


def test_fifty_plugins_stay_within_the_start_up_budget(tmp_path):
    """`aepipe --help` makes at most 3.5 times as many calls as importing click and pluggy."""
    for number in range(50):
        install(tmp_path, f"aepipe-p{number:02}", ENCODER.format(name=f"p{number:02}"))

    def calls(code: str) -> int:
        command = [sys.executable, "-c", COUNTER, code]
        done = subprocess.run(command, env=with_path(tmp_path), check=True, capture_output=True, text=True)
        return int(done.stderr.split()[-1])

    calls(HELP)  # bytecode is written the first time
    assert calls(HELP) <= 3.5 * calls("import click, pluggy")
