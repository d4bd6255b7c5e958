"""The page of the lecture's experiments, without a training: what it says of its results, and what its instruments see."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float

from tests.helpers.places import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))


@pytest.fixture
def results() -> dict[str, Any]:
    return json.loads((DOCS / "lecture" / "results.json").read_text(encoding="utf-8"))


def test_the_page_is_what_is_made_of_its_results(results: dict[str, Any]) -> None:
    from lecture import WHOLE
    from lecture_page import page

    kept = (DOCS / "lecture" / "README.md").read_text(encoding="utf-8")
    assert kept == page(WHOLE, results), "python docs/lecture.py --page writes it again"


def test_a_grid_is_a_peak_and_lost_sharpness_is_none() -> None:
    from checkerboard import known, peak

    images = as_float(open_images("digits", limit=300).read(np.arange(300)))
    made = {"original": images, "half": images / 2, **known(images)}
    peaks = {
        (name, period): peak(each, period) / peak(images, period) for name, each in made.items() for period in (2, 3)
    }
    assert peaks["half", 2] == pytest.approx(1) and peaks["half", 3] == pytest.approx(1), "brightness is no grid"
    for period in (2, 3):
        assert (
            peaks[f"grid_{period}", period] > 1.15 > max(peaks["blurred", period], peaks[f"grid_{5 - period}", period])
        )


def test_goals_of_samples_and_mid_points(results: dict[str, Any]) -> None:
    from goals import goal_lines

    def lines(found: dict[str, Any]) -> dict[str, list[str]]:
        return {line[0]: line[1:] for line in goal_lines(found, 12)}

    goal = "best samples: distance by that of the same network's reconstructions"
    assert lines(results)[goal] == ["≤ 1.00", "1.15 (resnet, gmm200)", "no"]
    worse = copy.deepcopy(results)
    worse["judged"]["conv"]["reconstructions"]["frechet"] *= 9
    assert lines(worse)[goal] == lines(results)[goal], "bad reconstructions are no merit"
    followed = copy.deepcopy(results)
    followed["judged"]["resnet"]["paths"] = {"flow": {"class_kept": 0.9}, "linear": {"class_kept": 1.0}}
    (kept,) = set(lines(followed)) - set(lines(results))
    assert "class kept" in kept and lines(followed)[kept][1:] == ["0.90 (resnet, flow)", "no"]


def test_the_page_says_what_was_not_measured_and_what_is_worse(results: dict[str, Any]) -> None:
    from lecture import WHOLE
    from lecture_page import page

    found = page(WHOLE, results)
    assert "were not followed" in found and "`density` and `coverage` came later" in found
    assert (
        "4 epochs for 5 corruptions together, and is worse than the best linear restorer at gaussian:sigma=0.25."
        in found
    )
    row = {"pairs": 5, "class_kept": 0.8, "length": 1.5, "largest_step": 0.25}
    for rows in results["judged"].values():
        rows["paths"] = {"linear": row}
        rows["train"] |= {"density": 0.9, "coverage": 0.9}
    for each in results["restoration"].values():
        each["all"] = each["own"]
    found = page(WHOLE, results)
    assert "| linear | 5 | 0.8 | 1.5 | 0.25 |" in found
    assert "not followed" not in found and "came later" not in found and "worse than" not in found
