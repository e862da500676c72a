"""What a filter asks for, where an index can answer it."""

from __future__ import annotations

from typing import Any

from scim2_models.path import CompareOperator, Comparison


def equals(search: Any, attribute: str) -> str | None:
    """Return the text that a filter ``attribute eq "text"`` asks for, None for any other filter.

    *attribute*: in lower case.
    """
    node = search.ast
    if not isinstance(node, Comparison) or node.op is not CompareOperator.eq:
        return None
    if str(node.attr_path).rpartition(":")[2].lower() != attribute or not isinstance(node.value, str):
        return None
    return node.value
