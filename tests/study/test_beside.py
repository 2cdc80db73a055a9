"""A study reads what stands beside it: nothing else of the machine, unless the person who runs it asks for it."""

from __future__ import annotations

import os
from pathlib import Path

import mutate
import pytest

from drofcm.core.errors import InputError
from drofcm.data import find_dataset
from drofcm.study.beside import ALLOWED, file_beside, folder_beside
from drofcm.study.run import open_study


def refused(folder: Path, name: str) -> str:
    with pytest.raises(InputError) as caught:
        file_beside(folder, name, "study.yaml:3:1: events.file")
    (finding,) = caught.value.findings
    return str(finding)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file, beside another one."""
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_text("secret,of,theirs\n", encoding="utf-8")
    return tmp_path / "own"


def test_what_stands_beside_is_read(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "link.csv").symlink_to(folder / "a.csv")
    for name in ("a.csv", "sub/../a.csv", "link.csv", str(folder / "a.csv")):
        assert file_beside(folder, name, "key").read_text(encoding="utf-8") == "secret,of,theirs\n"
    assert folder_beside(folder, "sub", "key") == folder / "sub"
    assert folder_beside(folder, "ieee33", "key") is None


def test_what_stands_elsewhere_is_not_read_by_any_way_there(folder: Path) -> None:
    other = folder.parent / "other"
    (folder / "link.csv").symlink_to(other / "a.csv")
    (folder / "there").symlink_to(other)
    for name in ("../other/a.csv", str(other / "a.csv"), "link.csv", "there/a.csv", "/etc/passwd", "../nothing"):
        told = refused(folder, name)
        assert told.startswith("study.yaml:3:1: events.file: '")
        assert "' lies outside the folder of the study file" in told
        assert ALLOWED in told
        assert "secret" not in told
    for name in ("../other", str(other), "there", "/", ".."):
        with pytest.raises(InputError, match="lies outside the folder of the study file"):
            folder_beside(folder, name, "key")


def test_who_runs_the_study_may_ask_for_other_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = folder.parent / "other"
    monkeypatch.setenv(ALLOWED, os.pathsep.join(["/nowhere", str(other)]))
    assert file_beside(folder, "../other/a.csv", "key").is_file()
    assert folder_beside(folder, str(other), "key") == other
    assert "lies outside" in refused(folder, "/etc/passwd")


def test_names_that_no_file_has_are_told(folder: Path) -> None:
    assert "did you mean 'a.csv'?" in refused(folder, "b.csv")
    assert "cannot be read" in refused(folder, "a" * 300)
    assert "no file can have such a name" in refused(folder, "a\0b")
    assert "is a folder" in refused(folder, ".")
    os.mkfifo(folder / "pipe")
    assert "no regular file" in refused(folder, "pipe")


def test_links_out_of_a_folder_of_data_are_refused_and_pipes_in_it_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    mutate.write_study(tmp_path / "s", "study", find_dataset("catalogue", "fcm_2026"))
    place = tmp_path / "s" / "place"
    os.mkfifo(place / "pipe.csv")
    (place / "old.csv").mkdir()
    (place / "zero.csv").symlink_to("/dev/zero")
    (place / "dangling.csv").symlink_to(tmp_path / "s" / "nothing")
    with pytest.raises(InputError, match=r"area.name: zero.csv: is a link out of the study's folder") as caught:
        open_study(tmp_path / "s" / "study.yaml")
    assert len(caught.value.findings) == 1
    (place / "zero.csv").unlink()
    assert not [
        name for name in open_study(tmp_path / "s" / "study.yaml").sources.files if "csv" in name and "place" in name
    ]
