"""What stands behind the three facts of a call, for somebody who wants to know: keys, ticket, KMS, path."""

from __future__ import annotations

from collections.abc import Iterator

from sipmikey.call.keying.known import kind_named
from sipmikey.phone.calls import ShownCall
from sipmikey.phone.documents import text
from sipmikey.phone.ladder.call import call_ladder
from sipmikey.phone.state import Phone
from sipmikey.phone.text import Text, Translate, clean

_WAYS = {
    "direct": Text("direct"),
    "reflexive": Text("through a NAT"),
    "relayed": Text("through a relay"),
}
NOT_TOLD = Text("not told")


def call_details(call: ShownCall, phone: Phone, tr: Translate, *, width: int = 100) -> str:
    """Return the details of *call* as lines of text, and its ladder below them."""
    rows = [(label.render(tr), value) for label, value in _rows(call, phone, tr)]
    room = max(len(label) for label, _ in rows)
    lines = [f"{label.ljust(room)}  {clean(value)}" for label, value in rows]
    return "\n".join((*lines, "", call_ladder(call, phone, width=width)))


def _keys_by(keying: str) -> Text:
    """Return the keying of that name in words; a name that is not known here as it is."""
    kind = kind_named(keying)
    return Text(kind.words.label if kind is not None else keying or "none")


def _rows(call: ShownCall, phone: Phone, tr: Translate) -> Iterator[tuple[Text, str]]:
    facts, untold = call.security, NOT_TOLD.render(tr)
    account = phone.accounts.get(call.account)
    yield Text("Account"), untold if account is None else account.identity or account.name
    yield Text("Other side, vouched for"), call.vouched or untold
    yield Text("Other side, as dialled or claimed"), call.party or untold
    yield Text("KMS"), text(facts, "kms") or untold
    yield Text("Ticket"), text(facts, "ticket") or untold
    keying = text(facts, "keying")
    yield Text("Keys by"), _keys_by(keying).render(tr)
    yield Text("Cipher suite"), text(facts, "suite") or untold
    yield Text("Signalling"), text(facts, "signalling").upper() or untold
    way = call.path
    yield Text("Path of the sound"), _WAYS[way].render(tr) if way in _WAYS else way or untold
    if call.reason:
        status = f" ({call.status})" if call.status else ""
        yield Text("Ended by"), f"{call.reason}{status}"
