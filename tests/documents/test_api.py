"""The pages of the Python API are those of the docstrings."""

from __future__ import annotations

import re

from docs import api
from tests.test_public_names import PUBLIC


def test_the_pages_are_up_to_date() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in api.HERE.iterdir()}
    assert there == api.pages(), "run: python docs/api.py"


def test_every_public_name_has_a_page_and_a_sentence() -> None:
    assert set(api.MODULES) == set(PUBLIC)
    for module in api.MODULES:
        text = api.page(module)
        for name in PUBLIC[module] - {"__version__"}:
            found = re.search(rf"^## {name}\n\n((?:.|\n)*?)(?=\n## |\Z)", text, re.MULTILINE)
            assert found and found[1].strip(), f"{module}.{name} has no text"


def test_stars_of_shapes_stay_and_options_are_lists() -> None:
    text = api.page("aepipe")
    assert r"[N, C, \*sides]" in text and "](" not in text
    assert "- `density`: spec string" in api.page("aepipe.sklearn")
