"""`aepipe explore`: the page as a file. What it does in a browser: test_explore_page.py."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aepipe.bundle.reader import Bundle
from aepipe.explore.page import for_script, principal_axes, write_explorer

from tests.helpers.bundles import edit_manifest
from tests.helpers.commands import python


def content_of(page: str) -> dict[str, Any]:
    """What stands in the page as JSON."""
    return json.loads(re.search(r'<script type="application/json" id="bundle">(.*?)</script>', page, re.DOTALL)[1])


@pytest.mark.slow
def test_the_command_writes_a_page_and_says_how_to_open_it(call, web_files, kept_bundle, tmp_path):
    out = tmp_path / "page.html"
    outcome = call("explore", kept_bundle, "--images", "digits", "-o", out)
    assert outcome.code == 0 and outcome.out == ""
    assert f"{out}: " in outcome.err and "MB" in outcome.err and out.as_uri() in outcome.err
    assert 4.5e6 < out.stat().st_size < 7e6
    page = out.read_text()
    assert "https://" not in re.sub(r"<script>/\*!.*?</script>", "", page, count=1, flags=re.DOTALL)  # ORT's own text
    content = content_of(page)
    assert content["examples"]["count"] == 64 and content["latent"] == 8 and content["classes"] == 10
    assert call("explore", kept_bundle, "--images", "digits", "-o", out).code == 0 and out.read_text() == page


def test_names_are_escaped(colour_bundle, tmp_path):
    write_explorer(colour_bundle, tmp_path / "page.html", cdn=True)
    page = (tmp_path / "page.html").read_text()
    assert "<b>" not in page and "<!--" not in page and "<h1>&lt;b&gt;&amp;amp; &lt;/script&gt;&lt;!--</h1>" in page
    assert len(re.findall("</script>", page)) == 3
    assert content_of(page)["name"] == Bundle(colour_bundle).name


def test_the_page_knows_no_folder_of_this_machine(colour_bundle, tmp_path):
    np.save(tmp_path / "mine.npy", np.zeros((2, 3, 12, 16), np.float32))
    write_explorer(colour_bundle, tmp_path / "page.html", images=str(tmp_path / "mine.npy"), cdn=True)
    page = (tmp_path / "page.html").read_text()
    assert content_of(page)["examples"]["name"] == "mine.npy" and str(tmp_path) not in page


def test_json_in_a_script_cannot_end_it():
    text = for_script({"a": "</script><!--<script>&"})
    assert not set("<>&") & set(text) and json.loads(text) == {"a": "</script><!--<script>&"}


def test_principal_axes_are_those_of_the_covariance():
    codes = np.random.default_rng(0).normal(size=(300, 5)) * [1, 4, 2, 0.5, 0] + 3
    mean, axes, share = principal_axes(codes)
    np.testing.assert_allclose(axes @ axes.T, np.eye(5), atol=1e-12)
    projected = (codes - mean) @ axes.T
    np.testing.assert_allclose(np.cov(projected.T, bias=True), np.diag(projected.var(0)), atol=1e-10)
    np.testing.assert_allclose(share, projected.var(0) / codes.var(0).sum(), atol=1e-12)
    assert (np.diff(share) <= 0).all() and (axes[np.arange(5), np.abs(axes).argmax(1)] > 0).all()
    assert [each.shape for each in principal_axes(np.ones((1, 40)))] == [(40,), (16, 40), (16,)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-o", "page.png"], "does not write .png"),
        (["-o", "page.html", "--cdn", "--runtime", "."], "--cdn leaves the runtime out"),
        (["-o", "page.html", "--runtime", "nowhere"], "nowhere is not onnxruntime-web 1.30.0"),
        (["-o", "page.html", "--cdn", "--images", "nowhere/"], "'nowhere"),
        (["-o", "page.html", "--cdn", "--images", "wrong.npy"], "the model takes"),
    ],
)
def test_bad_input_leaves_what_was_there(call, kept_bundle, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    np.save("wrong.npy", np.zeros((2, 9, 9), np.float32))
    Path("page.html").write_text("precious", encoding="utf-8")
    outcome = call("explore", kept_bundle, *arguments)
    assert outcome.code == 2 and expected in outcome.err and "\nhint: " in outcome.err
    assert Path("page.html").read_text(encoding="utf-8") == "precious" and sorted(
        p.name for p in tmp_path.iterdir()
    ) == [
        "page.html",
        "wrong.npy",
    ]


def test_damaged_codes_are_refused(call, kept_bundle, tmp_path):
    bundle = shutil.copytree(kept_bundle, tmp_path / "bundle")
    edit_manifest(bundle, lambda manifest: manifest.pop("files", None))
    np.savez(bundle / "codes.npz", codes=np.full((3, 8), np.nan, np.float32))
    outcome = call("explore", bundle, "--cdn", "-o", tmp_path / "page.html")
    assert outcome.code == 2 and "the codes in" in outcome.err and not (tmp_path / "page.html").exists()


def test_many_labels_are_left_out_and_counted(kept_bundle, tmp_path):
    bundle = shutil.copytree(kept_bundle, tmp_path / "bundle")
    edit_manifest(bundle, lambda manifest: manifest.pop("files", None))
    codes = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    for labels, expected in ((np.arange(100), (100, None)), (np.arange(100) % 2 == 0, (2, ["False", "True"]))):
        np.savez(bundle / "codes.npz", codes=codes, labels=labels)
        write_explorer(bundle, tmp_path / "page.html", cdn=True)
        content = content_of((tmp_path / "page.html").read_text())
        assert (content["classes"], (content["labels"] or {}).get("names")) == expected


def test_it_needs_neither_torch_nor_onnxruntime(kept_bundle, tmp_path):
    code = (
        "import sys; from aepipe.cli import run; code = run(sys.argv[1:]); "
        "print([name for name in ('torch', 'onnx', 'onnxruntime') if name in sys.modules]); sys.exit(code)"
    )
    done = python(code, "explore", kept_bundle, "--cdn", "-o", tmp_path / "page.html")
    assert done.returncode == 0 and done.stdout.strip() == "[]", done.stderr
