"""Folders that aepipe writes as a whole: only what is ours is replaced or removed, and never a finished work of somebody else."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from aepipe.errors import BadInput
from aepipe.files import ours, staged
from aepipe.files.locks import lock_beside, locked
from aepipe.files.ours import LIST, OwnFolder, foreign_entries, listed_files, write_list
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.folders import contents

KIND = "toy"
OLD = {"a.txt": b"old a", "deep/b.txt": b"old b", "deep/er/c.txt": b"old c"}
NEW = {"a.txt": b"new a", "deep/d.txt": b"new d"}


def own(path: Path) -> OwnFolder:
    return OwnFolder(path, KIND, lambda folder: listed_files(folder, KIND))


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write(path: Path, files: dict[str, bytes]) -> None:
    with own(path).replacing() as folder:
        fill(folder, files)
        write_list(folder, KIND)


def without_list(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(folder).items() if name != LIST}


def dead_process() -> int:
    """The number of a process that has ended."""
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    return int(done.stdout)


@pytest.fixture(params=["exchanged", "renamed", "inside"])
def way(request, monkeypatch) -> str:
    """How the new folder takes the place of the old one: in one system call, in two, or file by file where it must stay."""
    if request.param == "renamed":
        monkeypatch.setattr(ours, "_renameat2", lambda first, second: False)
    if request.param == "inside":
        monkeypatch.setattr(staged, "_must_stay", lambda folder: True)
    return request.param


FOREIGN = st.dictionaries(
    st.lists(st.sampled_from(["x", "deep", "er", ".git", "ä b"]), max_size=4).map(lambda parts: "/".join([*parts, "mine"])),
    st.binary(max_size=3),
    max_size=5,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(foreign=FOREIGN)
def test_what_is_not_ours_stays(foreign: dict[str, bytes], tmp_path_factory) -> None:
    for simulate in (None, False):
        home = tmp_path_factory.mktemp("home")
        place = home / "place"
        with pytest.MonkeyPatch.context() as patch:
            if simulate is not None:
                patch.setattr(ours, "_renameat2", lambda first, second: False)
            write(place, OLD)
            fill(place, foreign)
            (place / "deep" / "empty").mkdir()
            (place / "link").symlink_to("/etc")
            write(place, NEW)
        assert without_list(place) | {"link": b""} == {**NEW, **foreign, "link": b""}
        assert (place / "deep" / "empty").is_dir() and (place / "link").readlink() == Path("/etc")
        assert [path.name for path in home.iterdir()] == ["place"]


def test_a_new_one_takes_the_place_of_the_old(way: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    write(place, OLD)
    fill(place, {"deep/mine": b"m"})
    write(place, NEW)
    assert without_list(place) == {**NEW, "deep/mine": b"m"}
    assert sorted(path.name for path in place.iterdir()) == sorted([LIST, "a.txt", "deep"])
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_a_failure_leaves_all_as_it_was(way: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    write(place, OLD)
    before = contents(place)
    with pytest.raises(RuntimeError), own(place).replacing() as folder:
        fill(folder, NEW)
        raise RuntimeError
    fill(place, {"deep/d.txt": b"mine"})
    with pytest.raises(BadInput, match=r"deep/d\.txt was not written by aepipe"):
        write(place, NEW)
    assert contents(place) == {**before, "deep/d.txt": b"mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_what_is_no_folder_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "file").write_text("mine")
    for content in (
        "{}",
        '{"kind": "toy"}',
        '{"kind": "other", "files": []}',
        "no json",
        '{"kind": "toy", "files": [1]}',
    ):
        (tmp_path / "app" / LIST).write_text(content)
        with pytest.raises(BadInput, match="exists and is not a toy"):
            write(tmp_path / "app", NEW)
    with pytest.raises(BadInput, match="exists and is not a toy"):
        write(tmp_path / "file", NEW)
    assert sorted(contents(tmp_path)) == [f"app/{LIST}", "file"]


def test_two_that_began_with_a_free_place_do_not_wipe_one_another(tmp_path: Path) -> None:
    place = tmp_path / "place"
    with own(place).replacing() as folder:
        fill(folder, NEW)
        write_list(folder, KIND)
        with pytest.raises(BadInput, match=rf"is being written by process {os.getpid()}"):
            write(place, OLD)
    assert without_list(place) == NEW
    # A program that knows nothing of locks, or one on another machine whose lock was removed.
    other = tmp_path / "other"
    with pytest.raises(BadInput, match="was written by another process meanwhile"), own(other).replacing() as folder:
        fill(folder, NEW)
        write_list(folder, KIND)
        fill(other, OLD)
        write_list(other, KIND)
    assert without_list(other) == OLD


def test_locks_say_who_holds_them(tmp_path: Path, capsys) -> None:
    lock = tmp_path / "lock"
    lock.write_text(json.dumps({"pid": dead_process(), "host": platform.node()}))
    with locked(lock, "the thing"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert "a process that wrote the thing was killed; its lock is taken over" in capsys.readouterr().err
    assert not lock.exists()
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with pytest.raises(BadInput, match="process 1 of elsewhere"), locked(lock, "the thing"):
        pass
    for content in ("[]", '{"pid": "x", "host": "y"}'):
        lock.write_text(content)
        with pytest.raises(BadInput, match="says not by whom"), locked(lock, "the thing"):
            pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_lock_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(BadInput, match="is a pipe"), locked(tmp_path / "lock", "the thing"):
        pass


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=255))
def test_every_name_has_a_lock_of_its_own(name: str) -> None:
    lock = lock_beside(Path("home", name))
    assert len(os.fsencode(lock.name)) <= 255 and lock.parent == Path("home") and ours._is_own_mark(lock)
    assert lock != lock_beside(Path("home", f"{name}x"))


def test_a_name_as_long_as_they_may_be(tmp_path: Path) -> None:
    for files in (OLD, NEW):
        write(tmp_path / ("x" * 255), files)
    assert without_list(tmp_path / ("x" * 255)) == NEW


REMOVE = """
import os, sys
from pathlib import Path
from aepipe.files.ours import remove_files
if os.getuid() == 0:
    os.setuid(65534)
try:
    remove_files(Path(sys.argv[1]), ["a.txt", "deep/b.txt"])
except PermissionError as error:
    print(error.filename)
"""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs permissions of POSIX")
def test_nothing_is_removed_where_not_all_can_be() -> None:
    with tempfile.TemporaryDirectory() as name:  # others may not look into pytest's own folders
        folder = Path(name)
        fill(folder, OLD)
        folder.chmod(0o777)
        (folder / "deep").chmod(0o555)
        done = subprocess.run([sys.executable, "-c", REMOVE, folder], capture_output=True, text=True)
        (folder / "deep").chmod(0o755)
        assert done.stdout == f"{folder / 'deep'}\n", done
        assert contents(folder) == OLD


def leftover(folder: Path, pid: int) -> Path:
    """What a process leaves that is killed while it writes."""
    path = folder / f".aepipe-{staged._host()}-{pid}-0123abcd.part"
    path.mkdir(parents=True)
    (path / "half.txt").write_text("half")
    return path


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    dead, living = leftover(tmp_path, dead_process()), leftover(tmp_path, os.getppid())
    write(tmp_path / "place", NEW)
    assert not dead.exists() and living.exists()


def test_a_kill_between_exchange_and_tidying_loses_nothing(tmp_path: Path) -> None:
    """The new folder is in place, and what is not ours is still in the old one."""
    place = tmp_path / "place"
    write(place, NEW)
    old = leftover(tmp_path, dead_process())
    fill(old, {**OLD, "deep/mine": b"m", "notes": b"n"})
    (old / staged.MOVING).write_text(json.dumps(["place", ["deep/mine", "notes"]]))
    write(tmp_path / "another", NEW)
    assert without_list(place) == {**NEW, "deep/mine": b"m", "notes": b"n"} and not old.exists()


@pytest.mark.parametrize(
    "note", ["[", '["../place", ["x"]]', '["place", ["../../x"]]', '{"a": 1}', '["place", 7]', "null"]
)
def test_a_note_of_a_stranger_moves_nothing(note: str, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    old = leftover(tmp_path / "inner", dead_process())
    (old / "x").write_text("x")
    (old / staged.MOVING).write_text(note)
    write(tmp_path / "inner" / "another", NEW)
    assert (old / "x").read_text() == "x"


def test_only_whole_foreign_folders_are_named_as_one(tmp_path: Path) -> None:
    fill(tmp_path, {**OLD, ".git/HEAD": b"", ".git/objects/a": b"", "deep/mine/x": b"", "b": b""})
    assert sorted(foreign_entries(tmp_path, OLD)) == [".git", "b", "deep/mine"]
