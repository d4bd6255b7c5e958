"""plugins/examples: each is installed, trained, resumed, exported and uninstalled; its bundle runs without it and without torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tokenize

import numpy as np
import pytest
from PIL import Image

from tests.helpers.places import ROOT
from tests.helpers.strangers import install, with_path

EXAMPLES = ROOT / "plugins" / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
pytestmark = [pytest.mark.trains, pytest.mark.slow]

SMALL = {"encoder": "mlp:hidden=16", "decoder": "mlp:hidden=16", "latent_dim": 4, "limit": 200, "batch_size": 50}
DIGITS = {"images": "digits:size=8", **SMALL}
RUNS = {
    "sines": {**SMALL, "images": "sines:count=200", "encoder": "windows"},
    "grains": {**SMALL, "images": "grains:count=100", "decoder": "grow"},
    "skips": {
        **DIGITS,
        "encoder": "identity",
        "decoder": "skips",
        "latent_dim": "image",
        "corrupt": "gaussian:sigma=0.3",
    },
    "tokens": {**DIGITS, "objective": "codebook:size=8", "densities": ["chain"]},
    "islands": {**DIGITS, "densities": ["islands"]},
    "drift": {**DIGITS, "densities": ["drift:updates=50"]},
    "critic": {**DIGITS, "objective": "critic"},
    "frozen": {**DIGITS, "encoder": "backbone:weights=backbone.safetensors,hidden=16", "optimiser": "careful"},
    "tarred": {**SMALL, "images": "images.tar"},
    "lion": {**DIGITS, "optimiser": "lion", "lr": 3e-4},
    "journal": DIGITS,
    "shelf": DIGITS,
}

TRAIN = """
import json, sys, aepipe
for name, options in json.load(open("runs.json")).items():
    for epochs, out in ((1, "stopped"), (2, "whole")):
        aepipe.fit(**options, epochs=epochs, out=f"{out}/{name}", device="cpu", show=False)
"""
RESUME = """
import json, torch, aepipe
apart = {}
for name in json.load(open("runs.json")):
    resumed, whole = aepipe.resume(f"stopped/{name}", epochs=2, show=False), aepipe.Run(f"whole/{name}")
    ours, theirs = resumed.model().state_dict(), whole.model().state_dict()
    apart[name] = max(float((ours[key].double() - theirs[key].double()).abs().max()) for key in theirs)
    resumed.export(f"bundles/{name}", show=False)
json.dump(apart, open("apart.json", "w"))
"""
USE = """
import sys, numpy as np, aepipe
for name in sys.argv[1:]:
    with aepipe.load(f"bundles/{name}", provider="cpu") as model:
        samples = np.zeros((3, *(side or 8 for side in model.shape)), np.float32)
        assert np.isfinite(model.reconstruct(samples)).all(), name
        for density in model.densities:
            assert np.isfinite(model.sample(2, density, seed=0)).all(), name
assert "torch" not in sys.modules
"""


def script(code: str, *arguments: str, **options: object) -> None:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder with runs and bundles of all examples, and the environment in which they are installed."""
    from safetensors.numpy import save_file

    home = tmp_path_factory.mktemp("shop")
    for name in NAMES:
        install(home / "site", f"aepipe-{name}", (EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))
    rng = np.random.default_rng(0)
    backbone = {"weight": rng.normal(0, 0.1, (16, 64)).astype(np.float32), "bias": np.zeros(16, np.float32)}
    save_file(backbone, home / "backbone.safetensors")
    with tarfile.open(home / "images.tar", "w") as archive:
        for index in range(120):
            Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(home / "one.png")
            archive.add(home / "one.png", f"{index:03}.png")
    (home / "runs.json").write_text(json.dumps(RUNS))
    env = with_path(home / "site")
    script(TRAIN, cwd=home, env=env)
    (home / "backbone.safetensors").unlink()  # the runs have its weights
    script(RESUME, cwd=home, env=env)
    return home, env


def test_every_example_is_tried():
    assert set(NAMES) == set(RUNS) and len(NAMES) == 12


def test_resumed_runs_have_the_weights_of_undisturbed_ones(shop):
    assert json.loads((shop[0] / "apart.json").read_text()) == dict.fromkeys(RUNS, 0.0)


def test_bundles_run_without_plugins_and_without_torch(shop):
    script(USE, *NAMES, cwd=shop[0], env=with_path())


def test_each_leaves_its_mark(shop, cli):
    home, env = shop
    manifests = {name: json.loads((home / "bundles" / name / "manifest.json").read_text()) for name in NAMES}
    assert manifests["sines"]["data"]["kind"] == "signal" and manifests["grains"]["data"]["kind"] == "volume"
    assert manifests["skips"]["data"]["shape"] == [1, None, None] and manifests["skips"]["densities"] == []
    assert manifests["islands"]["classes"] == 10
    journal = [json.loads(line)["event"] for line in (home / "stopped" / "journal" / "journal.jsonl").open()]
    assert journal == ["started", "epoch", "finished", "started", "epoch", "finished", "exported"]
    told = cli("infer", "sample", "bundles/islands", "--label", 3, "--count", 2, "-o", "threes.npy", cwd=home)
    assert told.returncode == 0, told.stderr
    spread = cli("infer", "spread", "bundles/shelf", "digits:size=8", "-o", "spread.json", cwd=home, env=env)
    assert spread.returncode == 0 and len(json.loads((home / "spread.json").read_text())) == 4, spread.stderr
    flat = cli("export", "bundles/shelf", "--layout", "flat", "-o", "flat", cwd=home, env=env)
    assert flat.returncode == 0 and (home / "flat" / "encoder.onnx").is_file(), flat.stderr


def test_the_tokens_of_samples_are_those_of_the_codebook(shop):
    import aepipe

    with aepipe.load(shop[0] / "bundles" / "tokens", provider="cpu") as model:
        codes = np.concatenate(list(model.sample_codes(200, seed=0)))
        assert len(np.unique(codes.reshape(-1, 2).round(4), axis=0)) <= 8
        assert (model.log_prob(codes) <= 0).all(), "a probability is at most 1"


def test_the_table_counts_their_lines():
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    counted = dict(re.findall(r"^\| \[(\w+)\.py\].*\| (\d+) \|$", table, re.MULTILINE))
    assert {name: int(number) for name, number in counted.items()} == {name: lines(name) for name in NAMES}


def lines(name: str) -> int:
    """Lines with code: neither empty ones nor comments nor docstrings."""
    with (EXAMPLES / f"{name}.py").open("rb") as file:
        tokens = [token for token in tokenize.tokenize(file.readline) if token.type not in _NO_CODE]
    first = [
        index == 0 or tokens[index - 1].type in (tokenize.NEWLINE, tokenize.INDENT) for index in range(len(tokens))
    ]
    doc = {index for index, token in enumerate(tokens) if token.type == tokenize.STRING and first[index]}
    kept = [token for index, token in enumerate(tokens) if index not in doc and token.type in _CODE]
    return len({line for token in kept for line in range(token.start[0], token.end[0] + 1)})


_NO_CODE = (tokenize.ENCODING, tokenize.COMMENT, tokenize.NL, tokenize.DEDENT)
_CODE = (tokenize.NAME, tokenize.NUMBER, tokenize.OP, tokenize.STRING)
