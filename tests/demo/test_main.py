from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mms.demo.main import FIRST, _alone
from mms.demo.models import RECIPES
from mms.demo.problem import DemoError

if TYPE_CHECKING:
    from pathlib import Path


def test_two_demos_in_one_folder_are_one_too_many(tmp_path: Path) -> None:
    """The second one says so, and may start when the first has ended."""
    with (
        _alone(tmp_path / ".demo"),
        pytest.raises(DemoError, match="another demo"),
        _alone(tmp_path / ".demo"),
    ):
        pass
    with _alone(tmp_path / ".demo"):
        pass


def test_a_folder_that_takes_nothing_is_one_line(tmp_path: Path) -> None:
    """A file where the folder should be: what and why."""
    (tmp_path / ".demo").write_text("in the way")
    with pytest.raises(DemoError, match="can't write to"), _alone(tmp_path / ".demo"):
        pass


def test_the_lines_to_copy_name_a_model_of_the_catalogue() -> None:
    """Which one is a constant, so it is checked."""
    assert FIRST in {recipe.target for recipe in RECIPES}
