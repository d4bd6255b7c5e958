"""The command line as a newcomer meets it: help, misspelt words, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from aepipe.cli import _add_commands, cli
from aepipe.cli.options import print_json
from aepipe.plugins.lookup import KINDS

_add_commands()
TASKS = ["reconstruct", "denoise", "interpolate", "sample", "encode", "decode", "score"]
OWN = ["train", "fit-density", "export", "infer", "eval", "benchmark", "inspect", "list", "plugins", "doctor", "demo"]


def test_all_commands_are_there(call) -> None:
    outcome = call("--help")
    assert outcome.code == 0 and outcome.err == ""
    for name in OWN:
        assert f"\n  {name} " in outcome.out
    assert [task for task in TASKS if f"\n  {task} " not in call("infer", "--help").out] == []
    assert call("--version").out.startswith("aepipe, version ")


@pytest.mark.parametrize("command", [[], ["infer"]])
def test_short_help_is_not_cut(call, command: list[str]) -> None:
    outcome = call(*command, "--help")
    assert "..." not in outcome.out.replace("[ARGS]...", "")
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.parametrize("command", [[name] for name in OWN] + [["infer", task] for task in TASKS])
def test_every_command_explains_itself(call, command: list[str]) -> None:
    outcome = call(*command, "--help")
    assert outcome.code == 0
    assert "Example" in outcome.out and f"aepipe {' '.join(command)}" in outcome.out.partition("Example")[2]
    found = cli.commands[command[0]]
    found = found if len(command) == 1 else found.commands[command[1]]  # type: ignore[attr-defined]
    for option in found.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help or option.show_default, f"{command} {option.name} has no help"
    assert "INTEGER RANGE" not in outcome.out and "TEXT" not in outcome.out


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        (["trian"], "did you mean 'aepipe train'?"),
        (["reconstruct", "x", "y"], "did you mean 'aepipe infer reconstruct'?"),
        (["sampel"], "did you mean 'aepipe infer sample'?"),
        (["infer", "recontruct", "x", "y"], "did you mean 'aepipe infer reconstruct'?"),
        (["list", "densty"], "did you mean 'density'?"),
        (["list", "encoder", "cnov"], "did you mean 'conv'?"),
        (["train", "--data", "digits", "--encoder", "conv:chanels=3"], "did you mean 'channels'?"),
        (["train", "--data", "digts"], "did you mean 'digits'?"),
        (["train", "--dta", "digits"], "--data"),
        (["infer", "sample", "BUNDLE", "-o", "x.png", "--density", "gausian"], "did you mean 'gaussian'?"),
        (["infer", "sample", "BUNDLE", "-o", "x.png", "--cuont", "3"], "--count"),
        (["infer", "encode", "BUNDLE", "digits", "-o", "x.csvv"], "did you mean '.csv'?"),
        (["infer", "denoise", "BUNDLE", "digits", "-o", "x.png", "--corrupt", "gausian"], "did you mean 'gaussian'?"),
        (["infer", "sample", "BUNDLE", "-o", "x.png", "--provider", "cup"], "did you mean 'cpu'?"),
    ],
)
def test_misspelt_words(call, typed: list[str], suggested: str, kept_bundle: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = call(*[str(kept_bundle) if word == "BUNDLE" else word for word in typed])
    assert outcome.code == 2 and outcome.out == ""
    assert suggested in outcome.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "typed",
    [
        ["infer", "sample", "B", "-o", "x.png", "--count", "0"],
        ["infer", "sample", "B", "-o", "x.png", "--count", "many"],
        ["infer", "sample", "B", "-o", "x.png", "--seed", "-1"],
        ["infer", "encode", "B", "digits", "-o", "x.npy", "--limit", "-5"],
        ["infer", "encode", "B", "digits", "-o", "x.npy", "--batch-size", "0"],
        ["infer", "encode", "B", "digits", "-o", "x.npy", "--threads", "1.5"],
        ["infer", "interpolate", "B", "digits", "-o", "x.png", "--steps", "1"],
        ["benchmark", "B", "--batch-size", "-1"],
    ],
)
def test_counts(call, typed: list[str]) -> None:
    outcome = call(*typed)
    assert outcome.code == 2 and f"{typed[-1]!r} is not a whole number of" in outcome.err


def test_inspect(call, kept_bundle: Path) -> None:
    outcome = call("inspect", kept_bundle)
    assert outcome.code == 0 and outcome.err == ""
    graphs = [line.split()[0] for line in outcome.out.splitlines() if ".onnx" in line]
    assert graphs[:3] == ["encoder.onnx", "decoder.onnx", "density/gaussian/sample.onnx"]
    assert "image [batch, 1, 28, 28]  latent [batch, 8]" in outcome.out
    found = json.loads(call("inspect", kept_bundle, "--json").out)
    assert found["problems"] == {} and found["latent"] == 8 and found["image"]["shape"] == [1, 28, 28]


def test_list(call) -> None:
    table = call("list").out
    built_in = set(KINDS) - {
        "reader",
        "task",
    }  # images and arrays are read by aepipe itself, as its own tasks are its own
    for kind in built_in:
        assert f"\n{kind} " in table
    assert call("list", "densities").out == call("list", "density").out
    found = json.loads(call("list", "encoder", "conv", "--json").out)
    assert found["name"] == "conv" and found["plugin"] == "aepipe"
    (channels,) = (option for option in found["options"] if option["name"] == "channels")
    assert channels["type"] == "int" and channels["default"] == 32 and channels["help"]
    assert {each["kind"] for each in json.loads(call("list", "--json").out)} >= built_in
    shown = call("list", "encoder", "conv").out
    assert "channels" in shown and "write: conv:channels=VALUE" in shown


def test_plugins_and_doctor(call) -> None:
    found = json.loads(call("plugins", "--json").out)
    own = {each["name"]: each for each in found if each["distribution"] == "aepipe"}
    assert "encoder:conv" in own["encoders"]["components"] and own["encoders"]["errors"] == []
    assert "encoder:conv" in call("plugins").out
    findings = {each["what"]: each for each in json.loads(call("doctor", "--json").out)}
    assert findings["provider cpu"]["ok"] is True and findings["provider cpu"]["found"] == "runs"
    if findings["provider cuda"]["ok"] is not True:
        assert findings["provider cuda"]["ok"] is None and findings["provider cuda"]["fix"]
    outcome = call("doctor")
    assert all(what in outcome.out for what in findings)


def test_json_is_valid_whatever_the_numbers(capsys) -> None:
    print_json({"psnr": float("inf"), "rows": [float("nan"), 1.5, (2, None)], "path": Path("x")})
    assert json.loads(capsys.readouterr().out) == {"psnr": None, "rows": [None, 1.5, [2, None]], "path": "x"}
