"""exported/photos, the bundle that restores photographs: it works at first try, and has the figures that docs/restoration says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.infer.tiles import restore_windows
from PIL import Image

from tests.helpers.places import PHOTOS, ROOT

pytestmark = pytest.mark.skipif(not PHOTOS.is_dir(), reason="exported/photos is not in this copy")


def test_a_photograph_is_restored_at_first_try(call, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:150, :203]
    clean = np.stack([(x + y) % 256, 90 + 60 * np.sin(x / 20), np.where(x > 100, 200, 40)], 2)
    Image.fromarray(np.clip(clean + rng.normal(0, 25, clean.shape), 0, 255).astype(np.uint8)).save(
        tmp_path / "photo.png"
    )
    outcome = call(
        "infer", "denoise", PHOTOS, tmp_path / "photo.png", "-o", tmp_path / "clean.png", "--provider", "cpu"
    )
    assert outcome.code == 0, outcome.err
    noisy, restored = (np.asarray(Image.open(tmp_path / name)).astype(float) for name in ("photo.png", "clean.png"))
    before, after = (np.square(each - clean).mean() for each in (noisy, restored))
    assert restored.shape == clean.shape and after < before / 8


def test_windows_give_what_the_whole_gives() -> None:
    image = np.random.default_rng(1).random((3, 700, 500), np.float32)
    with aepipe.load(PHOTOS, "cpu") as model:
        whole = model.reconstruct_batch(image[None])[0]
        assert np.abs(restore_windows(model, image) - whole).max() < 1e-5


def test_it_is_small_and_keeps_no_codes() -> None:
    files = [path for path in PHOTOS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4_000_000
    assert not (PHOTOS / "codes.npz").exists(), "they would be the photographs"


@pytest.mark.slow
def test_it_has_the_figures_of_its_page(data_folder: Path, call, tmp_path: Path) -> None:
    photographs = sorted((data_folder / "live1").glob("*.png"))[-5:]
    (tmp_path / "kept").mkdir()
    for path in photographs:
        shutil.copy(path, tmp_path / "kept")
    page = (ROOT / "docs" / "restoration" / "README.md").read_text(encoding="utf-8")
    section = page[page.index("## Photographs in colours") : page.index("## Photographs as cameras store them")]
    row = next(line for line in section.splitlines() if line.startswith("| unet |")).split("|")
    words = [
        "--data",
        tmp_path / "kept",
        "--corrupt",
        "gaussian:sigma=0.098039,clip=false",
        "--provider",
        "cpu",
        "--json",
    ]
    found = json.loads(call("eval", PHOTOS, *words).out)
    assert found["psnr_mean"] == pytest.approx(float(row[3]), abs=0.02)
    assert found["ssim"] == pytest.approx(float(row[6]), abs=0.002)
