"""`aepipe benchmark`: what it measures, what it says, what it refuses and that it leaves no process behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aepipe.benchmark.compare import TORCH, compare
from aepipe.benchmark.report import COLUMNS, machine, versions

from tests.helpers.commands import program
from tests.helpers.places import ROOT
from tests.helpers.strangers import install, with_path

QUICK = ["--seconds", "0.05", "--rounds", "1"]
TASKS = ["encode", "decode", "reconstruct"]
NUMBERS = ("images_per_second", "ratio", "p50_ms", "p90_ms", "p99_ms", "first_ms", "load_ms", "difference")
PLUGIN = """
import os, sys
from aepipe import hookimpl, runtime

class Here:
    def __init__(self, mood):
        self.mood = mood

    def open(self, path, *, threads=None, batch=None):
        print("a library that prints")
        if self.mood == "angry":
            raise ValueError("it has its moods")
        if self.mood == "dead":
            print("the card is on fire", file=sys.stderr)
            os._exit(3)
        return runtime.provider("cpu").open(path, threads=threads, batch=batch)

def moody(*, mood: str = "good"):
    return Here(mood)

@hookimpl
def register_providers(register):
    register(moody)
"""


def test_rows_and_table(call, kept_bundle: Path) -> None:
    arguments = ["benchmark", kept_bundle, "--provider", "cpu", "--batch-size", "2", "--threads", "1"]
    outcome = call(*arguments, "--seconds", "0.05", "--rounds", "2", "--json")
    assert outcome.code == 0 and outcome.err == ""
    found = json.loads(outcome.out)
    assert (
        found["command"] == f"aepipe benchmark {kept_bundle} {' '.join(arguments[2:])} --seconds 0.05 --rounds 2 --json"
    )
    assert found["bundles"] == {"digits": str(kept_bundle)} and found["left_out"] == []
    assert found["versions"] == versions() and found["machine"] == machine()
    assert [row["task"] for row in found["rows"]] == TASKS
    for row in found["rows"]:
        keys = {"bundle", "provider", "precision", "batch", "task", "calls", *COLUMNS}
        assert set(row) == keys and all(isinstance(row[key], float) for key in NUMBERS)
        assert [row[key] for key in ("bundle", "provider", "precision", "batch")] == ["digits", "cpu", "fp32", 2]
        assert row["calls"] >= 5 and 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["images_per_second"] == pytest.approx(2000 / row["p50_ms"], rel=0.01)
        assert row["ratio"] == 1 and row["difference"] == 0
        assert (10 < row["memory_mb"] < 2000) if sys.platform == "linux" else row["memory_mb"] is None
    table = call(*arguments, *QUICK).out.splitlines()
    assert table[0].split()[:4] == ["provider", "precision", "batch", "task"] and len(table) == 5


def test_every_combination_is_there_once(call, kept_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(kept_bundle, tmp_path / "twin")
    sizes = ["--batch-size", "1", "--batch-size", "3", "--batch-size", "1"]
    outcome = call("benchmark", kept_bundle, tmp_path / "twin", "--provider", "cpu", *sizes, *QUICK, "--json")
    rows = json.loads(outcome.out)["rows"]
    got = [(row["batch"], row["task"], row["bundle"]) for row in rows]
    assert got == [(batch, task, bundle) for batch in (1, 3) for task in TASKS for bundle in ("digits", "twin")]
    assert all(row["ratio"] == 1 for row in rows if row["bundle"] == "digits")
    assert all(row["difference"] == 0 for row in rows)


def test_bundles_of_one_name_are_told_apart(kept_bundle: Path, tmp_path: Path, call) -> None:
    shutil.copytree(kept_bundle, tmp_path / "digits")
    arguments = "--provider", "cpu", "--precision", "fp32", "--batch-size", 1, *QUICK
    outcome = call("benchmark", kept_bundle, tmp_path / "digits", *arguments)
    assert outcome.out.split()[0] == "bundle"
    assert str(kept_bundle) in outcome.out and str(tmp_path / "digits") in outcome.out


def test_precisions(call, kept_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(kept_bundle, tmp_path / "two")
    manifest = json.loads((tmp_path / "two" / "manifest.json").read_text())
    both = [graph for graph in manifest["graphs"] if graph["role"] in ("encoder", "decoder")]
    manifest["graphs"] += [{**graph, "precision": "int8"} for graph in both]  # the same files under another name
    (tmp_path / "two" / "manifest.json").write_text(json.dumps(manifest))
    arguments = ["benchmark", tmp_path / "two", "--provider", "cpu", "--batch-size", 2, *QUICK, "--json"]
    for given, wanted in ([], ["fp32", "int8"]), (["--precision", "int8"], ["int8"]):
        rows = json.loads(call(*arguments, *given).out)["rows"]
        assert [row["precision"] for row in rows] == wanted * 3 and all(row["difference"] == 0 for row in rows)


@pytest.mark.slow
def test_torch_and_markdown(cli, digits_run, digits_bundle: Path, tmp_path: Path) -> None:
    page = tmp_path / "speed.md"
    arguments = [digits_bundle, "--provider", "cpu", "--batch-size", 2, "--torch", digits_run.directory, *QUICK]
    # Without a C++ compiler, which is left out in a line; with one it would take half a minute.
    outcome = cli("benchmark", *arguments, "--markdown", page, "--json", env={"CXX": "no-such-compiler"})
    assert outcome.returncode == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    reason = found["left_out"][0]
    assert reason.startswith("left out: digits, torch, fp32 compile, batch 2 failed: InvalidCxxCompiler")
    assert reason in outcome.stderr.splitlines()
    decode = [row for row in found["rows"] if row["provider"] == "torch" and row["task"] == "decode"]
    precisions = {row["precision"]: row for row in decode}
    assert tuple(precisions) == TORCH[:3]
    assert 0 < precisions["bf16 eager channels_last"]["difference"] < 0.1
    assert precisions["fp32 eager"]["difference"] < 1e-5
    text = page.read_text(encoding="utf-8")
    assert text.startswith("## Speed of digits\n\n`aepipe benchmark ") and "--markdown" in text.splitlines()[2]
    assert all(f"{name} {number}" in text for name, number in versions().items())
    assert machine()["cpu"] in text and reason in text and f"{machine()['cores']} cores" in text
    header = "| provider | precision | batch | images/s | ratio | p50 ms | p90 ms | p99 ms "
    assert [line for line in text.splitlines() if line.startswith("### ")] == [f"### {task}" for task in TASKS]
    assert text.count(header) == 3 and text.count("| torch | fp32 eager | 2 | ") == 3


def test_cuda_is_left_out_where_it_does_not_start(kept_bundle: Path) -> None:
    found = compare({"digits": kept_bundle}, batch_sizes=[1, 2], seconds=0.05, rounds=1)
    providers = {row["provider"] for row in found.rows}
    assert "cpu" in providers and (len(providers) == 2) == (found.left_out == [])
    assert all(line.startswith("left out: cuda did not start: ") for line in found.left_out) and len(found.left_out) < 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--provider", "gpuu"], "unknown provider 'gpuu'"),
        (["--precision", "fp33"], "has no precision 'fp33'"),
        (["--torch", "nowhere"], "nowhere is not a run"),
        (["no-bundle"], "there is no bundle 'no-bundle'"),
        (["--markdown", "/dev/null/page.md"], "/dev/null/page.md cannot be created"),
        (["--rounds", "0"], "'0' is not a whole number of 1 or more"),
    ],
)
def test_what_cannot_be_measured_is_refused_first(call, kept_bundle: Path, arguments: list[str], said: str) -> None:
    outcome = call("benchmark", kept_bundle, "--seconds", "1000", *arguments)
    assert outcome.code == 2 and said in outcome.err and outcome.out == ""


def test_another_runs_bundle_is_refused(call, digits_run, digits_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(digits_run.directory, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**config, "latent": 5}))
    outcome = call("benchmark", digits_bundle, "--torch", tmp_path / "run", "--seconds", "1000")
    assert outcome.code == 2 and "the run that the bundle was exported from" in outcome.err


def test_a_plugins_provider_and_its_failures(cli, kept_bundle: Path, tmp_path: Path) -> None:
    install(tmp_path, "aepipe-moody", PLUGIN)
    environment = with_path(tmp_path)
    arguments = ["benchmark", kept_bundle, "--batch-size", 1, *QUICK, "--json", "--provider", "cpu", "--provider"]
    found = json.loads(cli(*arguments, "moody:mood=fine", env=environment).stdout)
    assert [row["provider"] for row in found["rows"]] == ["cpu", "moody:mood=fine"] * 3
    for mood, cause in {
        "angry": "digits, moody:mood=angry, fp32, batch 1 failed: it has its moods",
        "dead": "the process that measures digits, moody:mood=dead, fp32, batch 1 ended with exit code 3: the card is on fire",
    }.items():
        outcome = cli(*arguments, f"moody:mood={mood}", env=environment)
        assert outcome.returncode == 1 and outcome.stdout == ""
        assert f"error: {cause}\nhint: try a smaller --batch-size" in outcome.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_stays(kept_bundle: Path, how: signal.Signals) -> None:
    command = [
        sys.executable,
        "-m",
        "aepipe",
        "benchmark",
        str(kept_bundle),
        "--provider",
        "cpu",
        "--batch-size",
        "1",
    ]
    with subprocess.Popen([*command, "--seconds", "1"], stderr=subprocess.PIPE) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        while not (found := children.read_text(encoding="utf-8").split()) and parent.poll() is None:
            time.sleep(0.02)
        parent.send_signal(how)
        parent.wait()
    assert parent.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert found
    end = time.monotonic() + 60  # orphans end at the end of their input, after what they were asked for
    while any(_runs(pid) for pid in found):
        assert time.monotonic() < end
        time.sleep(0.05)


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_figures_of_bench_py(kept_bundle: Path) -> None:
    command = [sys.executable, *program("bench"), "startup", "--bundle", str(kept_bundle)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0 and done.stdout.startswith("startup: `import click, pluggy` 0.")
    assert "ratio" in done.stdout and done.stdout.count("\n") == 1
