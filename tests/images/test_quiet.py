"""Decoders print nothing, whatever a stranger's file holds; and what was set for the process before stands again."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
from aepipe.images.data import open_images
from aepipe.images.quiet import _handlers_of_libtiff, quiet
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from tests.helpers.images import everything

WRITTEN = {
    **{
        f"{name}.tif": {"compression": name}
        for name in ("group3", "group4", "tiff_lzw", "tiff_deflate", "jpeg", "packbits")
    },
    **{f"plain.{ending}": {} for ending in ("tif", "jpg", "png", "webp", "gif", "bmp", "ppm")},
    **({"plain.jp2": {}} if features.check("jpg_2000") else {}),
    **({"plain.avif": {}} if features.check("avif") else {}),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_damaged_file_reaches_the_terminal_only_as_our_message(name: str, tmp_path: Path, capfd) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8))
    Image.init()
    file, kind = io.BytesIO(), Image.EXTENSION[Path(name).suffix]
    (picture.convert("1") if name.startswith("group") else picture).save(file, kind, **WRITTEN[name])
    whole, path = file.getvalue(), tmp_path / name
    places = st.integers(0, len(whole) - 1)

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(st.dictionaries(places, st.integers(0, 255), max_size=6), places | st.none())
    def damage(changes: dict[int, int], end: int | None) -> None:
        content = bytearray(whole)
        for place, value in changes.items():
            content[place] = value
        path.write_bytes(content[:end])
        try:
            everything(open_images(path))
        except Exception as error:
            assert type(error).__name__ == "BadInput", error

    damage()
    assert capfd.readouterr() == ("", "")


def state() -> tuple[object, ...]:
    handlers = []
    for set_handler in _handlers_of_libtiff():
        handlers.append(set_handler(None))
        set_handler(handlers[-1])
    return Image.MAX_IMAGE_PIXELS, list(warnings.filters), logging.getLogger("PIL").handlers[:], handlers


def test_the_settings_of_the_process_stand_again_after_the_last_block() -> None:
    before = state()
    with quiet():
        inside = state()
        with quiet():
            pass
        assert state() == inside != before
    assert state() == before
    assert not features.check("libtiff") or before[3], "libtiff can be reached"
