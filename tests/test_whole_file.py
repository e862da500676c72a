"""A file is replaced as a whole, and a link to it stays a link."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sipmikey.whole_file import write_whole


def test_a_file_behind_a_link_is_replaced_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    real, link = tmp_path / "data" / "config.toml", tmp_path / "config.toml"
    link.symlink_to(real)
    for text in ("one\n", "zwei ä\n"):
        write_whole(link, text)
        assert (link.is_symlink(), real.read_text(encoding="utf-8")) == (True, text)
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert stat.S_IMODE(real.parent.stat().st_mode) == 0o700
    assert list(real.parent.iterdir()) == [real]


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
