"""What is imported when: the command line starts light, and the runtime half works where torch is not installed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from aepipe.images.data import open_images
from PIL import Image

from tests.helpers.commands import python

HEAVY = ("torch", "onnx", "onnxruntime", "onnxscript", "numpy", "rich", "PIL", "sklearn", "matplotlib")

# Refuses what the base install lacks, by imports as well as by installed distributions.
BASE_INSTALL = """
import importlib.metadata, sys
MISSING = {"torch", "onnx", "onnxscript", "sklearn", "scikit-learn", "scipy", "matplotlib", "safetensors"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
version = importlib.metadata.version

def installed(name):
    if name in MISSING:
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)

importlib.metadata.version = installed
"""

# Each line of stdin is one command line as JSON; the answer is its exit code and what it printed.
COMMANDS = """
import contextlib, io, json
from aepipe.cli import run
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(json.loads(line))
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
print(json.dumps(sorted(MISSING & {name.partition(".")[0] for name in sys.modules})))
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["infer", "--help"], ["train", "--help"], ["infer", "sample", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from aepipe.cli import run; code = run(sys.argv[1:]); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = python(code, *arguments)
    assert done.returncode == 0 and done.stderr.strip() == "[]"


def test_importing_aepipe_is_light() -> None:
    code = f"import sys, aepipe; print([name for name in {HEAVY} if name in sys.modules])"
    assert python(code).stdout.strip() == "[]"


def test_the_base_install_runs_everything_but_training(kept_bundle: Path, tmp_path: Path) -> None:
    images = open_images("digits", limit=6).read(np.arange(6))[:, 0]
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for k, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "photos" / ("more" if k % 2 else ".") / f"{k}.png")
    bundle, array, photos = str(kept_bundle), str(tmp_path / "images.npy"), str(tmp_path / "photos")

    def task(name: str, *arguments: str) -> list[str]:
        return ["infer", "--provider", "cpu", name, bundle, *arguments]

    works = [
        task("reconstruct", array, "-o", str(tmp_path / "sheet.png")),
        task("reconstruct", photos, "-o", str(tmp_path / "copies")),
        task("denoise", photos, "-o", str(tmp_path / "restored.png"), "--corrupt", "gaussian:sigma=0.3"),
        task("interpolate", array, "-o", str(tmp_path / "strips.png")),
        task("sample", "-o", str(tmp_path / "samples.npz"), "--density", "pca"),
        task("encode", photos, "-o", str(tmp_path / "codes.npy")),
        task("decode", str(tmp_path / "codes.npy"), "-o", str(tmp_path / "images.npz")),
        task("score", photos, "-o", "-"),
        ["inspect", bundle],
        ["list"],
        ["list", "encoder", "conv"],
        ["plugins"],
        ["doctor", "--json"],
        ["benchmark", bundle, "--provider", "cpu", "--batch-size", "1", "--seconds", "0.05"],
        ["eval", bundle, "--data", array, "--provider", "cpu", "--json"],
    ]
    refused = [["train", "--data", array], ["train", "--data", "digits"], ["export", str(tmp_path / "run")]]
    stdin = "\n".join(json.dumps(each) for each in works + refused)
    done = python(BASE_INSTALL + COMMANDS, input=stdin, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *answers, imported = map(json.loads, done.stdout.splitlines())
    assert imported == []
    for arguments, (code, _, err) in zip(works, answers, strict=False):
        assert code == 0, (arguments, err)
    for arguments, (code, out, err) in zip(refused, answers[len(works) :], strict=True):
        assert code == 1 and out == "", (arguments, err)
        assert err.splitlines()[-1] == "hint: pip install 'aepipe[train]'", (arguments, err)
    doctor = {each["what"]: each for each in json.loads(answers[12][1])}
    assert doctor["training"]["ok"] is None and doctor["training"]["fix"] == "pip install 'aepipe[train]'"
    assert answers[7][1].startswith("index,path,error,log_density\n") and answers[7][1].count("\n") == 7
    assert json.loads(answers[14][1])["count"] == 6
    assert {path.name for path in (tmp_path / "copies" / "more").iterdir()} == {"1.png", "3.png", "5.png"}
