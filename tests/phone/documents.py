"""Event documents for tests: those of a call as an agent tells them, and strategies for any others."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

ALICE, BOB, CAROL = "sip:alice@example.com", "sip:bob@example.com", "sip:carol@example.com"
KMS = "sip:kms@example.com"
SUITE = "AES_256_CM_HMAC_SHA1_80"

Fields = dict[str, Any]


def security(**changes: Any) -> Fields:
    """Facts of a call with bob that is proven, with *changes*."""
    facts = {
        "signalling": "tls", "media": "proven", "peer": BOB, "called": BOB, "kms": KMS, "suite": SUITE,
        "ticket": "3a9cd2f1", "keying": "mikey-ticket",
    }  # fmt: skip
    return facts | changes


def event(type: str, call: str = "1", at: float = 1000.0, **fields: Any) -> Fields:
    """One document."""
    return {"v": 1, "type": type, "at": at, "call": call, **fields}


READY = event("agent.ready", "", identity=ALICE, contact="sip:alice@127.0.0.1:5060", features=["mute"])

HELD = security(media="held", peer=None, kms=None, suite=None, ticket=None, keying=None)


def outgoing(call: str = "1", at: float = 1000.0, **facts: Any) -> list[Fields]:
    """A call to bob that is answered and proven."""
    return [
        event("call.out", call, at, uri=BOB),
        event("call.ringing", call, at + 1, status=180, to_tag="a", early_media=False),
        event("call.answered", call, at + 2, security=security(media="keyed") | facts),
        event("call.state", call, at + 2.1, state="proven", security=security() | facts),
    ]


def incoming(call: str = "1", at: float = 1000.0) -> list[Fields]:
    """A call of bob that rings."""
    ringing = security(media="held", suite=None, keying=None, called=ALICE)
    return [
        event("call.in", call, at, caller=BOB, called=ALICE, sip_call_id="x"),
        event("call.state", call, at + 0.1, state="ringing", security=ringing),
        event("call.rings", call, at + 0.1, caller=BOB, called=ALICE, security=ringing),
    ]


def ended(call: str = "1", at: float = 1060.0, reason: str = "hangup", **facts: Any) -> Fields:
    """The end of a call."""
    side = "remote"
    return event(
        "call.end", call, at, reason=reason, side=side, status=200, detail="", duration_s=58.0,
        security=security() | facts,
    )  # fmt: skip


CONFERRING = READY | {"features": ["conference"]}
CLEAR = security(media="off", peer=None, kms=None, keying=None, suite=None, signalling="udp")


def two_calls(**facts: Any) -> list[dict[str, Any]]:
    """Calls with bob and carol that are answered, that with carol with *facts*."""
    carol = {"peer": CAROL, "called": CAROL}
    return [
        CONFERRING,
        *outgoing("1"),
        event("call.out", "2", uri=CAROL),
        *outgoing("2", **(carol | facts))[1:],
    ]


def mixed(*, present: bool = True, legs: tuple[str, ...] = ("1", "2")) -> dict[str, Any]:
    return event(
        "conference.changed",
        "",
        conference="1",
        legs=list(legs),
        present=present,
    )


TYPES = (
    "account.opened", "agent.ready", "agent.do-not-disturb", "agent.devices", "reg.ok", "reg.fail",
    "engine.down", "call.out", "call.in", "call.rings", "call.ringing", "call.answering", "call.declining",
    "call.answered", "call.state", "agent.sound", "call.conference", "call.redirected", "call.end",
    "conference.changed", "network.changed", "call.moved",
    "media.keyed", "media.proven", "media.failed", "media.expired", "media.stalled", "media.resumed",
    "media.rekeyed", "media.path", "policy.question", "policy.decided", "policy.fallback",
    "policy.alternative", "policy.refused", "contact.saved", "contact.removed", "history.entry",
    "history.cleared", "history.looked-at", "notice.dismissed", "message.left", "messages.listed",
    "message.waiting", "message.playing", "message.played", "message.refused", "message.recording",
    "message.sending", "message.sent", "message.dropped", "message.unsent",
    "kms.request", "kms.error", "dtmf.received", "of.tomorrow",
)  # fmt: skip

_words = st.sampled_from(
    ["", ALICE, BOB, CAROL, KMS, "tls", "udp", "off", "held", "keyed", "proven", "PROVEN",
     "mikey-ticket", "sdes", "talking", "holding", "silent", "hangup", "busy", "cancelled", "remote", "local",
     "in", "out", "answered", "missed", "{evil}", "\x1b[31m"]
)  # fmt: skip
_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), _words, st.text(max_size=8),
    st.lists(_words, max_size=2), st.dictionaries(_words, _words, max_size=2),
)  # fmt: skip

facts = st.fixed_dictionaries(
    {},
    optional={
        "signalling": st.one_of(st.sampled_from(["udp", "tcp", "tls"]), _values),
        "media": st.one_of(st.sampled_from(["off", "held", "keyed", "proven"]), _values),
        "keying": st.one_of(st.sampled_from(["mikey-ticket", "sdes", None]), _values),
        "peer": st.one_of(st.sampled_from([BOB, CAROL, None]), _values),
        "kms": st.one_of(st.sampled_from([KMS, None]), _values),
        "called": st.one_of(st.sampled_from([BOB, None]), _values),
        "suite": _values, "ticket": _values,
    },
)  # fmt: skip

_FIELDS = (
    "at", "ts", "identity", "contact", "registrar", "expires_s", "detail", "reason", "side", "status", "uri",
    "caller", "called", "state", "on", "muted", "input_db", "output_db", "joined", "peer",
    "legs", "present", "moved", "cause", "now",
    "kms", "wait_s", "direction",
    "outcome", "devices", "features", "name", "numbers", "seen", "media", "signalling", "who", "proven",
    "duration_s", "identifier", "account", "new", "old", "messages", "message", "from", "to", "longest_s",
)  # fmt: skip

documents = st.builds(
    lambda head, rest: rest | head,
    st.fixed_dictionaries(
        {"type": st.sampled_from(TYPES), "call": st.sampled_from(["", "1", "2"])},
        optional={"security": st.one_of(facts, _values)},
    ),
    st.dictionaries(st.sampled_from(_FIELDS), _values, max_size=8),
)
