"""The vectors made by other hands from the RFC; skipped where they are not beside the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipmikey.vectors.check import check
from sipmikey.vectors.file import load

DIRECTORY = Path(__file__).parents[3] / "shared" / "vectors"
FILES = sorted(DIRECTORY.glob("*.json")) if DIRECTORY.is_dir() else []
VECTORS = [(path.name, vector) for path in FILES for vector in load(path)]
BASES = {vector["name"]: vector for _, vector in VECTORS if vector["kind"] == "exchange"}


@pytest.mark.skipif(not VECTORS, reason="no vector files are beside this repository")
def test_there_are_vectors_of_every_kind():
    assert {vector["kind"] for _, vector in VECTORS} == {"prf", "exchange", "reject", "payload", "error"}


@pytest.mark.parametrize(
    "vector", [vector for _, vector in VECTORS], ids=[f"{name}-{vector['name']}" for name, vector in VECTORS]
)
def test_vector(vector):
    assert check(vector, BASES).faults == ()  # type: ignore[arg-type]
