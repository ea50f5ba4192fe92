"""A command writes new outputs and its own, never a user's, and never into its inputs."""

import os
import random
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from hiwm_core.config_files import find_config
from hiwm_core.errors import ConfigError
from hiwm_core.output_folders import (
    check_apart,
    check_output_file,
    check_output_folder,
    claim_folder,
    json_with,
    npz_with,
)
from hiwm_core.user_paths import file_argument, path_argument, user_path


def ours(path: Path) -> bool:
    return (path if path.is_file() else path / "mark").read_text() == "ours"


def test_a_folder_is_ours_missing_or_empty(tmp_path):
    check_output_folder(tmp_path / "deep" / "new", "a set", lambda _: False)
    (tmp_path / "empty").mkdir()
    check_output_folder(tmp_path / "empty", "a set", lambda _: False)
    for mark in ("ours", "theirs"):
        (tmp_path / mark).mkdir()
        (tmp_path / mark / "mark").write_text(mark)
    check_output_folder(tmp_path / "ours", "a set", ours)
    with pytest.raises(ConfigError, match="not a set written by hiwm; it was left unchanged"):
        check_output_folder(tmp_path / "theirs", "a set", ours)
    with pytest.raises(ConfigError, match="a file that is not a set"):
        check_output_folder(tmp_path / "ours" / "mark", "a set", ours)


def test_a_file_is_ours_or_missing_and_so_are_those_beside_it(tmp_path):
    path, beside = tmp_path / "model", tmp_path / "model.png"
    check_output_file(path, "a model", ours, companions=[beside])
    beside.write_text("a photograph")
    with pytest.raises(ConfigError, match=r"model\.png"):
        check_output_file(path, "a model", ours, companions=[beside])
    path.write_text("ours")
    check_output_file(path, "a model", ours, companions=[beside])
    path.write_text("theirs")
    with pytest.raises(ConfigError, match="not a model"):
        check_output_file(path, "a model", ours)
    with pytest.raises(ConfigError, match="a folder that is not a model"):
        check_output_file(tmp_path, "a model", ours)


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is not a folder"):
        check_output_file(tmp_path / "file" / "model", "a model", ours)
    if os.geteuid():
        (tmp_path / "kept").mkdir(mode=0o500)
        with pytest.raises(ConfigError, match="no permission"):
            check_output_file(tmp_path / "kept" / "model", "a model", ours)


@pytest.mark.parametrize("content", ["", "ours"])
def test_a_folder_that_exists_and_cannot_be_written_is_refused(tmp_path, monkeypatch, content):
    folder = tmp_path / "mine"
    folder.mkdir()
    if content:
        (folder / "mark").write_text(content)
    # Root may write anywhere; only a read-only disk would refuse it.
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != folder)
    with pytest.raises(ConfigError, match="no permission to write in .*mine"):
        check_output_folder(folder, "a set", ours)
    with pytest.raises(ConfigError, match="no permission to write in .*mine"):
        claim_folder(folder, "a set")


def test_a_folder_that_is_a_link_to_nothing_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    with pytest.raises(ConfigError, match="a link to .*missing, which does not exist"):
        check_output_folder(tmp_path / "link", "a set", ours)
    (tmp_path / "missing").mkdir()
    check_output_folder(tmp_path / "link", "a set", ours)


def test_a_claimed_folder_is_reused_only_by_the_same_command(tmp_path):
    folder = tmp_path / "work"
    claim_folder(folder, "a work folder")
    (folder / "stage.pt").write_text("x")
    claim_folder(folder, "a work folder")
    with pytest.raises(ConfigError):
        claim_folder(folder, "a collection")
    assert (folder / "stage.pt").exists()


def test_files_are_recognised_by_their_content(tmp_path):
    import numpy as np

    (tmp_path / "a.json").write_text('{"rows": 1, "machine": 2}')
    (tmp_path / "b.json").write_text("[1, 2]")
    (tmp_path / "c.json").write_text("no JSON")
    assert [json_with("rows")(tmp_path / f"{name}.json") for name in "abc"] == [True, False, False]
    np.savez(tmp_path / "a.npz", names=np.zeros(1))
    assert npz_with("names")(tmp_path / "a.npz")
    assert not npz_with("names")(tmp_path / "a.json")
    assert not npz_with("names", "images")(tmp_path / "a.npz")


def test_outputs_and_inputs_stay_apart_however_they_are_spelled(tmp_path, monkeypatch):
    """Random trees with links: refused exactly if one real path starts with the other."""
    chance = random.Random(0)
    folders = [tmp_path]
    for number in range(30):
        folder = chance.choice(folders) / f"f{number}"
        folder.mkdir()
        folders.append(folder)
    links = []
    for number in range(20):
        link = chance.choice(folders) / f"l{number}"
        link.symlink_to(chance.choice(folders), target_is_directory=True)
        links.append(link)
    monkeypatch.chdir(chance.choice(folders))
    refused = 0
    for _ in range(1500):
        given, output = chance.choice(folders + links), chance.choice(folders + links)
        for _ in range(chance.randrange(3)):
            output = output / chance.choice(["..", "new", ".", "f3", "l4"])
        if chance.random() < 0.5:
            output = Path(os.path.relpath(output)) if ".." not in output.parts else output
        real, source = os.path.realpath(output), os.path.realpath(given)
        clash = f"{real}/".startswith(f"{source}/") or f"{source}/".startswith(f"{real}/")
        refused += clash
        if clash:
            with pytest.raises(ConfigError, match="input of this command"):
                check_apart(output, [given])
        else:
            check_apart(output, [given])
    assert 100 < refused < 1400


@pytest.mark.parametrize("path", ["loop", "loop/below", "n" * 300, "a" * 300 + "/b", "null\0"])
def test_what_can_never_be_a_path_is_refused(tmp_path, path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ConfigError, match="cannot be"):
        user_path(tmp_path / path)
    with pytest.raises(ArgumentTypeError, match="give another path"):
        path_argument(str(tmp_path / path))


@pytest.mark.parametrize("path", ["", ".", "/", "folder/", "folder"])
def test_a_folder_is_no_name_of_a_file(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArgumentTypeError, match="the name of a file"):
        file_argument(path)
    assert file_argument("folder/model.safetensors") == Path("folder/model.safetensors")


def test_a_tilde_means_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/set.zarr") == tmp_path / "set.zarr"
    assert user_path("a/~/b") == Path("a/~/b")
    (tmp_path / "mine.yaml").touch()
    assert find_config("devices", "~/mine.yaml") == tmp_path / "mine.yaml"
    assert path_argument("~/bag") == tmp_path / "bag"
    monkeypatch.delenv("HOME")
    assert user_path("~").is_absolute()  # from the user database
    with pytest.raises(ConfigError, match="home folder is unknown"):
        user_path("~nobody-of-this-name/x")
