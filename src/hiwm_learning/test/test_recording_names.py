"""Names of recordings: two folders of the same name do not share them."""

from pathlib import Path

import pytest

from hiwm_learning.world_models.recordings import distinct_names


@pytest.mark.parametrize(("folders", "names"), [
    (["/a/demonstration", "/a/edge"], ["demonstration", "edge"]),
    (["/a/x/edge", "/a/y/edge", "/a/y/failure"], ["x/edge", "y/edge", "y/failure"]),
    (["/x/data/edge", "/y/data/edge"], ["x/data/edge", "y/data/edge"]),
    (["/a/edge", "/a/edge"], ["edge", "edge"]),
    ([], []),
])
def test_folders_are_named_as_shortly_as_tells_them_apart(
    folders: list[str], names: list[str]
) -> None:
    assert distinct_names([Path(folder) for folder in folders]) == names
