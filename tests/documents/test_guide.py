"""The guide to writing plugins: every Python block is installed as a distribution of its own and used."""

from __future__ import annotations

import csv
import json
import re
import tomllib

import aepipe
import numpy as np
import pytest
from aepipe.plugins.lookup import HOOKS

from tests.helpers.places import ROOT
from tests.helpers.strangers import install, with_path

GUIDE = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def test_every_hook_is_documented():
    from aepipe.plugins import hookspecs

    known = {name for name, value in vars(hookspecs).items() if hasattr(value, "aepipe_spec")}
    assert known == set(HOOKS)
    for hook in known:
        assert any(f"@hookimpl\ndef {hook}(" in block for block in BLOCKS), f"plugins/README.md does not show {hook}"


def test_the_pyproject_names_the_entry_point():
    (block,) = re.findall(r"^```toml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert tomllib.loads(block)["project"]["entry-points"]["aepipe"] == {"linear": "aepipe_linear"}


@pytest.fixture(scope="module")
def env(tmp_path_factory) -> dict[str, str]:
    """Every block installed as aepipe-HOOK, and a second one of a hook as aepipe-HOOK-1."""
    folder = tmp_path_factory.mktemp("guide")
    hooks: list[str] = []
    for block in BLOCKS:
        hooks += re.findall(r"@hookimpl\ndef (\w+)", block)
        earlier = hooks.count(hooks[-1]) - 1
        name = f"aepipe-{hooks[-1].removeprefix('register_').replace('_', '-')}"
        install(folder, f"{name}-{earlier}" if earlier else name, block)
    return with_path(folder)


@pytest.fixture(scope="module")
def trained(env, cli, tmp_path_factory):
    """One run with a component from nearly every block."""
    folder = tmp_path_factory.mktemp("trained")
    parts = {
        "data": "discs:count=200",
        "encoder": "linear",
        "decoder": "shallow:hidden=32,activation=gelu",
        "objective": "sparse:weight=0.2",
        "optimiser": "gentle:encoder=0.2",
        "corrupt": "stripes:every=3",
        "augment": "shift:most=1",
        "density": "cold=round:temperature=0.5",
    }
    options = [text for name, spec in parts.items() for text in (f"--{name}", spec)]
    done = cli("train", *options, "--latent-dim", 3, "--epochs", 2, "-o", "run", cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    done = cli("export", "run", "-o", "bundle", cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    return folder


def test_all_blocks_load_and_their_factories_work(env, cli):
    found = json.loads(cli("plugins", "--json", env=env).stdout)
    blocks = [plugin for plugin in found if plugin["version"] == "1.0"]  # others may be installed here
    assert len(blocks) == len(BLOCKS)
    assert not [plugin["errors"] + plugin["notes"] for plugin in blocks if plugin["errors"] or plugin["notes"]]


def test_what_the_guide_trains_is_what_it_says(trained):
    config = json.loads((trained / "run" / "run.json").read_text())
    assert config["components"]["decoder"]["options"] == {"hidden": 32, "activation": "gelu"}
    assert config["components"]["encoder"]["plugin"] == "aepipe-encoders"
    assert config["data"]["dataset"]["options"] == {"size": 16, "count": 200}
    assert [each["options"] for each in config["augmentations"]] == [{"most": 1}]
    rows = [json.loads(line) for line in (trained / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] == pytest.approx(rows[-1]["error"] + 0.2 * rows[-1]["penalty"], rel=1e-4)
    log = (trained / "run" / "log.txt").read_text().splitlines()
    assert log == [f"{row['epoch']} {row['validation_mse']}" for row in rows]
    manifest = json.loads((trained / "bundle" / "manifest.json").read_text())
    assert manifest["densities"] == ["cold"] and manifest["trained"]["task"] == "denoise"


def test_what_learns_from_labels(env, cli, trained):
    parts = ("--data", "discs:count=300", "--encoder", "linear", "--decoder", "shallow", "--latent-dim", 3)
    done = cli("train", *parts, "--objective", "sorted", "--density", "islands", "-o", "told", cwd=trained, env=env)
    assert done.returncode == 0, done.stderr
    assert cli("export", "told", "-o", "islands", cwd=trained, env=env).returncode == 0
    for label in (0, 1):
        out = ("--label", label, "--count", 200, "-o", f"label-{label}.npy")
        done = cli("infer", "sample", "islands", "--provider", "cpu", *out, cwd=trained, env=with_path())
        assert done.returncode == 0, done.stderr
    small, large = (np.load(trained / f"label-{label}.npy").mean() for label in (0, 1))
    assert small < large
    with aepipe.load(trained / "islands", provider="cpu") as model:
        distance = model.outputs(np.concatenate(list(model.sample_codes(50, label=1))))["distance"]
    assert (distance.argmin(1) == 1).mean() > 0.9


def test_the_optimiser_and_the_diary(trained):
    config = json.loads((trained / "run" / "run.json").read_text())
    assert config["components"]["optimiser"]["options"] == {"encoder": 0.2}
    diary = (trained / "run" / "diary.txt").read_text().splitlines()
    mse = config["metrics"]["mse"]
    assert diary == ["0 of 2 epochs are done", f"MSE {mse:.5f} after 2 epochs", "bundle has 5 graphs"]


def test_the_player(trained, cli, env):
    options = (
        "--data",
        "discs:count=100",
        "--encoder",
        "linear",
        "--objective",
        "adversarial:hidden=8",
        "--latent-dim",
        2,
    )
    done = cli("train", *options, "--decoder", "shallow", "--epochs", 1, "-o", "adversarial", cwd=trained, env=env)
    assert done.returncode == 0, done.stderr
    (row,) = (json.loads(line) for line in (trained / "adversarial" / "metrics.jsonl").read_text().splitlines())
    assert row["critic"] > 0 and row["loss"] > row["error"]


def test_the_reader(trained, cli, env):
    rows = np.random.default_rng(0).normal(size=(40, 6))
    np.savetxt(trained / "spectra.dat", rows)
    pca = ("--encoder", "pca", "--decoder", "pca", "--latent-dim", 2, "--range", "none")
    done = cli("train", "--data", "spectra.dat[columns=5]", *pca, "-o", "spectra", cwd=trained, env=env)
    assert done.returncode == 0 and "40 5-number rows" in done.stderr, done.stderr
    (trained / "text.dat").write_text("no numbers")
    done = cli("train", "--data", "text.dat", *pca, "-o", "text", cwd=trained, env=env)
    assert done.returncode == 2 and "no table of numbers" in done.stderr


def test_the_command(trained, cli, env):
    done = cli("best", "run", cwd=trained, env=env)
    assert re.fullmatch(r"epoch [12]: 0\.\d{5}\n", done.stdout), done


def test_the_layout(trained, cli, env):
    done = cli("export", "bundle", "--layout", "flat:separator=_", "-o", "graphs", cwd=trained, env=env)
    assert done.returncode == 0 and "graphs: 5 graphs" in done.stderr, done.stderr
    assert (trained / "graphs" / "density_cold_sample.onnx").is_file()


def test_the_provider_agrees_with_onnx_runtime(trained, cli, env):
    for provider in ("reference", "cpu"):
        done = cli(
            *("infer", "sample", "bundle", "--provider", provider, "--count", 5, "-o", f"{provider}.npy"),
            cwd=trained,
            env=env,
        )
        assert done.returncode == 0, done.stderr
    reference, cpu = (np.load(trained / f"{name}.npy") for name in ("reference", "cpu"))
    assert reference.shape == (5, 1, 16, 16)
    np.testing.assert_allclose(reference, cpu, atol=1e-5)


def test_a_bundle_made_with_all_of_them_runs_without_them(trained, cli):
    np.save(trained / "in.npy", np.zeros((3, 16, 16), np.uint8))
    done = cli("infer", "score", "bundle", "in.npy", "-o", "scores.csv", cwd=trained, env=with_path())
    assert done.returncode == 0, done.stderr
    with (trained / "scores.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3


def test_values_that_a_block_refuses_are_one_sentence(trained, cli, env):
    options = ("--corrupt", "stripes:every=0", "-o", "out.npy")
    done = cli("infer", "denoise", "bundle", "discs:count=3", *options, cwd=trained, env=env)
    assert done.returncode == 2 and "every is at least 1" in done.stderr and "Traceback" not in done.stderr
    done = cli("list", "decoder", "shallow", env=env)
    assert all(text in done.stdout for text in ("hidden", "its width", "128", "relu|gelu", "aepipe-decoders 1.0"))


def test_the_callback_stops_a_run_that_is_good_enough(tmp_path):
    from types import SimpleNamespace

    block = next(block for block in BLOCKS if "epoch_finished" in block)
    module: dict = {}
    exec(block, module)
    for error, stops in ((0.01, False), (0.0001, True)):
        run = SimpleNamespace(epoch=1, metrics={"validation_mse": error}, directory=tmp_path, stop=False)
        module["epoch_finished"](run)
        assert run.stop is stops
