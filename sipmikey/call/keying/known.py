"""The keyings there are. One that is not among them is added with ``add_keying``, before an agent is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sipmikey.call.keying.clear import CLEAR
from sipmikey.call.keying.keying import KeyingKind
from sipmikey.call.keying.sdes import SDES
from sipmikey.call.keying.ticket import TICKET
from sipmikey.mikey.errors import LocalError

NONE = "none"
"""The value of ``security.alternative`` that allows no alternative."""

_kinds: list[KeyingKind] = [TICKET, SDES, CLEAR]


def kinds() -> tuple[KeyingKind, ...]:
    """Return all keyings, in the order of attempts."""
    return tuple(sorted(_kinds, key=lambda kind: kind.place))


def kind_named(name: str | None) -> KeyingKind | None:
    """Return the keying of that name in ``Security.keying``; None for no name, and for one not known here."""
    return next((kind for kind in _kinds if name is not None and kind.name == name), None)


def exposed(name: object) -> bool:
    """Return whether others than the parties may know keys of the keying *name*, as of one not known here.

    False for None and ``""``: there are no keys.
    """
    kind = kind_named(str(name)) if name else None
    return bool(name) and (kind is None or not kind.end_to_end)


def alternatives() -> tuple[str, ...]:
    """Return the values of ``security.alternative``, those of one keying strictest first."""
    return (NONE, *(word for kind in kinds() for word in kind.alternatives))


def alternative(word: str) -> KeyingKind | None:
    """Return the keying that ``security.alternative`` allows with *word*, None for ``none``.

    Raises ``LocalError`` for a word that no keying has.
    """
    if word == NONE:
        return None
    for kind in _kinds:
        if word in kind.alternatives:
            return kind
    raise LocalError(f"security.alternative: {word!r} is not one of {', '.join(alternatives())}")


def add_keying(kind: KeyingKind) -> None:
    """Know another keying from now on. Raises ``LocalError`` where its name, a word or its place is taken."""
    if kind.name is None or kind.in_clear:
        raise LocalError("a keying that is added has a name, and gives keys")
    if kind_named(kind.name) is not None:
        raise LocalError(f"a keying named {kind.name!r} is known already")
    if taken := set(kind.alternatives) & set(alternatives()):
        raise LocalError(f"keying {kind.name!r}: {', '.join(sorted(taken))} is a word of another keying")
    if not kind.alternatives:
        raise LocalError(f"keying {kind.name!r} has no word by which security.alternative allows it")
    if any(one.place == kind.place for one in _kinds):
        raise LocalError(f"keying {kind.name!r}: another one has place {kind.place}")
    _kinds.append(kind)


@contextmanager
def known(kind: KeyingKind) -> Iterator[None]:
    """Know another keying for as long as the context lasts. Raises as ``add_keying`` does."""
    add_keying(kind)
    try:
        yield
    finally:
        _kinds.remove(kind)
