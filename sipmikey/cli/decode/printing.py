"""Printing explanations: indented lines for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sipmikey.cli.output import Paint
from sipmikey.decode.explain.message import Explanation
from sipmikey.decode.explain.node import Finding, Node
from sipmikey.printable import printable

_VALUE_WIDTH = 64
HIDDEN = "(hidden: --show-keys shows it)"


def tree(nodes: Sequence[Node], *, show_keys: bool, verbose: bool, depth: int = 0) -> Iterator[str]:
    """Yield a line a field: offset, name, value, meaning, and the section where a payload begins."""
    for node in nodes:
        if not verbose and node.value is not None and node.name.endswith("length") and not node.children:
            continue
        value = _value(node, show_keys)
        meaning = f"  {node.meaning}" if node.meaning else ""
        section = f"  [{node.section}]" if node.children and node.section else ""
        name = f"{node.name}:" if value else node.name
        yield printable(f"{node.offset:6}  {'  ' * depth}{name}{value}{meaning}{section}")
        yield from tree(node.children, show_keys=show_keys, verbose=verbose, depth=depth + 1)


def keys(nodes: Sequence[Node], *, show_keys: bool) -> Iterator[str]:
    """Yield the lines of keys that were found by decrypting: they have no offset."""
    for group in nodes:
        yield f"        {group.name}"
        for node in group.children:
            yield printable(f"          {node.name}:{_value(node, show_keys)}  {node.meaning}")


def _value(node: Node, show_keys: bool) -> str:
    if node.value is None:
        return ""
    if node.secret and not show_keys:
        return f" {node.length} octets {HIDDEN}"
    text = str(node.value)
    if text == "":
        return " (empty)"
    if len(text) > _VALUE_WIDTH and not node.secret:
        return f" {text[:_VALUE_WIDTH]}… ({node.length} octets)"
    return f" {text}"


def finding_line(finding: Finding, paint: Paint) -> str:
    """Return a line about what is wrong, doubtful or proven."""
    word = {"error": paint.bad("WRONG "), "warning": paint("33", "doubt "), "proof": paint.good("proven")}
    where = f"{finding.field}: " if finding.field else ""
    place = "" if finding.offset is None else f" (octet {finding.offset})"
    rule = f" [{finding.section}]" if finding.section else ""
    return f"{word[finding.kind]}  {printable(f'{where}{finding.detail}{place}{rule}')}"


def document(
    explanation: Explanation,
    where: str,
    findings: Sequence[Finding],
    key_nodes: Sequence[Node],
    *,
    show_keys: bool,
) -> dict[str, object]:
    """Return the JSON document of one message."""
    return {
        "type": "message",
        "where": where,
        "name": explanation.name,
        "octets": explanation.octets,
        "complete": explanation.message is not None,
        "fields": [_as_json(node, show_keys) for node in explanation.nodes],
        "findings": [
            {
                "kind": item.kind,
                "field": item.field,
                "detail": item.detail,
                "offset": item.offset,
                "section": item.section or None,
            }
            for item in findings
        ],
        "keys": [_as_json(node, show_keys, located=False) for node in key_nodes],
    }


def _as_json(node: Node, show_keys: bool, *, located: bool = True) -> dict[str, object]:
    fields: dict[str, object] = {"name": node.name}
    if located:
        fields |= {"offset": node.offset, "length": node.length}
    if node.value is not None:
        fields["value"] = None if node.secret and not show_keys else node.value
    if node.secret:
        fields["secret"] = True
    if node.meaning:
        fields["meaning"] = node.meaning
    if node.section:
        fields["section"] = node.section
    if node.children:
        fields["fields"] = [_as_json(child, show_keys, located=located) for child in node.children]
    return fields
