"""Telling people what an agent does: one line an event, and the state line with its three facts.

It works on events as JSON data, so that the same words tell of this process's agent and of another's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sipmikey.call.keying.known import exposed, kind_named
from sipmikey.cli.output import Paint, timestamp

Document = Mapping[str, Any]

_PROXY_CHALLENGES = 407
_NOT_YET = 480

MEDIA_WORDS = {
    "off": "OFF, IN CLEAR",
    "held": "held, no keys yet",
    "keyed": "SRTP {suite}, not proven yet",
    "proven": "SRTP {suite}, proven",
}


def narrate(event: Document, paint: Paint, *, called: bool = False) -> str | None:
    """Return the line that tells of *event*, or None for one that says nothing new to people.

    *called*: the call came in, so that the other side is not whom we dialled.
    """
    if event["type"] in ("call.answered", "call.state"):
        return _state(event, paint, called=called)
    tell = _TELLERS.get(event["type"])
    return None if tell is None else tell(event, paint) or None


def state_line(peer: str, state: str, security: Document, paint: Paint, *, called: bool = False) -> str:
    """Return the state of a call: signalling, media and peer stand apart, each in words.

    There is no padlock: no single sign says that all three are good.
    """
    others = exposed(security.get("keying"))
    kind = kind_named(security.get("keying"))
    suite = security["suite"]
    if others and kind is not None:
        suite = f"{suite} by {kind.words.short} ({kind.words.exposed})"
    media = MEDIA_WORDS[security["media"]].format(suite=suite or "")
    good = security["media"] == "proven" and not others
    clear = security["media"] == "off" or others
    signalling = security["signalling"].upper()
    if security["peer"] is None:
        who = paint.bad("UNAUTHENTICATED")
    else:
        by = f"KMS-authenticated ({security['kms']})" if security["kms"] else "known by a key we share"
        who = f"{security['peer']}, {by}, ticket {security['ticket']}"
        if not called and security["called"] not in (None, security["peer"]):
            who = paint.bad(f"{who}; {security['called']} was dialled")
    shown = paint.good(media) if good else paint.bad(media) if clear else media
    return f"{peer} {paint.strong(state)} | signalling: {signalling} | media: {shown} | peer: {who}"


def _exchange(event: Document) -> str:
    return {"ticket-request": "REQUEST", "ticket-resolve": "RESOLVE"}[event["exchange"]]


def _ready(event: Document, paint: Paint) -> str:
    return f"listening as {event['identity']} at {event['contact']}"


def _kms_ready(event: Document, paint: Paint) -> str:
    return f"{event['identity']} serves at {', '.join(event['urls'])}"


def _registered(event: Document, paint: Paint) -> str:
    if not event["expires_s"]:
        return f"registration of {event['identity']} with {event['registrar']} removed"
    return f"registered {event['identity']} with {event['registrar']} for {event['expires_s']} s"


def _registration_failed(event: Document, paint: Paint) -> str:
    return paint.bad(f"registration with {event['registrar']} failed: {_why(event)} (SIP {event['status']})")


def _stack_failed(event: Document, paint: Paint) -> str:
    again = f"starting it again in {event['again_in_s']:g} s" if event["again_in_s"] else "starting it again"
    return paint.bad(f"the SIP stack died, and {event['calls']} calls with it; {again}: {_why(event)}")


def _kms_request(event: Document, paint: Paint) -> str:
    return f"{_exchange(event)}_INIT to {event['kms']}, {event['size']} octets"


def _kms_response(event: Document, paint: Paint) -> str:
    line = f"{_exchange(event)}_RESP from {event['kms']}, {event['size']} octets"
    line += f", after {event['elapsed_ms']:.1f} ms"
    if (ticket := event["ticket"]) is not None:
        who = ", ".join(ticket["responders"]) or "anyone the KMS allows"
        line += f"\n      ticket {ticket['ticket']} of {ticket['initiator']} for {who}"
        line += f"; policy flags {ticket['flags'] or 'none'}, suite {ticket['suite']}"
        if ticket["valid_until"] is not None:
            line += f", valid until {timestamp(ticket['valid_until'])}"
    if event["answerer"] is not None:
        line += f"\n      the KMS says the call is for {event['answerer']}"
    return line


def _kms_failed(event: Document, paint: Paint) -> str:
    return paint.bad(f"{_exchange(event)}_INIT to {event['kms']} failed: {_why(event)}")


def _call_out(event: Document, paint: Paint) -> str:
    return f"calling {event['uri']}"


def _redirected(event: Document, paint: Paint) -> str:
    what = "redirected" if 300 <= event["status"] < 400 else "next contact"
    return f"{what} ({event['status']}): calling {event['called']} at {event['target']}"


def _call_in(event: Document, paint: Paint) -> str:
    name = f', who calls itself "{event["display_name"]}",' if event["display_name"] else ""
    return f"call from {event['caller']}{name} to {event['called']}"


def _challenged(event: Document, paint: Paint) -> str:
    who = "a proxy" if event["status"] == _PROXY_CHALLENGES else "the other side"
    return f"{who} wants the password ({event['status']}): the INVITE goes out again"


def _ringing(event: Document, paint: Paint) -> str:
    return f"ringing ({event['status']}{', with early media' if event['early_media'] else ''})"


def _state(event: Document, paint: Paint, *, called: bool) -> str:
    state = "established" if event["type"] == "call.answered" else event["state"]
    line = state_line("call", state.upper(), event["security"], paint, called=called)
    if event.get("path"):
        line += f" | path: {event['path']}"
    return f"{line} | set up in {event['setup_ms']:.1f} ms" if "setup_ms" in event else line


def _ended(event: Document, paint: Paint) -> str:
    why = f"{event['reason']} by {event['side']} (SIP {event['status']})"
    text = f"ended: {why} after {event['duration_s']:.1f} s" + (
        f": {event['detail']}" if event["detail"] else ""
    )
    fine = event["reason"] in ("hangup", "cancelled", "transferred", "replaced", "answered-elsewhere")
    return text if fine else paint.bad(text)


def _candidate(event: Document, paint: Paint) -> str:
    return f"branch {event['to_tag']} answered by {event['peer']}: candidate"


def _committed(event: Document, paint: Paint) -> str:
    return f"branch {event['to_tag']} of {event['peer']} has the call"


def _abandoned(event: Document, paint: Paint) -> str:
    return f"branch {event['to_tag']} abandoned, its keys erased: {_why(event)}"


def _mikey_sent(event: Document, paint: Paint) -> str:
    return f"{event['message']} sent in SDP, {event['size']} octets"


def _mikey_received(event: Document, paint: Paint) -> str:
    return f"{event['message']} received in SDP, {event['size']} octets"


def _refused(event: Document, paint: Paint) -> str:
    return paint.bad(f"refused: {_why(event)}")


def _question(event: Document, paint: Paint) -> str:
    who = "redirected to" if event["kms"] is None else "answered by"
    return paint.bad(f"{event['called']} is {who} {event['peer']}: waiting {event['wait_s']:g} s for consent")


def _fallback(event: Document, paint: Paint) -> str:
    return paint.bad(f"NOT PROTECTED: policy lets the call go on in clear: {_why(event)}")


def _alternative(event: Document, paint: Paint) -> str:
    kind = kind_named(event["keying"])
    name = event["keying"] if kind is None else kind.words.short
    told = f"policy lets {name} key the call"
    if exposed(event["keying"]):
        who = "others may know the keys" if kind is None else kind.words.exposed
        told = f"NOT END TO END: {told}; {who}"
    if kind is None or not kind.vouches:
        told = f"{told}, nobody vouches for the peer"
    return paint.bad(f"{told}: {_why(event)}")


def _switched(event: Document, paint: Paint) -> str:
    return f"stream {event['index']}: new keys in use, {event['lost']} packets lost around the change"


def _keyed(event: Document, paint: Paint) -> str:
    keys = f"keys {event['send_key']} (sending), {event['receive_key']} (receiving)"
    return f"stream {event['index']}: {event['suite']}, {keys}"


def _proven(event: Document, paint: Paint) -> str:
    return paint.good(f"stream {event['index']}: first packet verified: proven")


def _resumed(event: Document, paint: Paint) -> str:
    return f"stream {event['index']}: packets verify again, after {event['silent_s']:g} s"


def _media_failed(event: Document, paint: Paint) -> str:
    return paint.bad(f"stream {event['index']}: {_why(event)}")


def _dtmf(event: Document, paint: Paint) -> str:
    return f"digit {event['digit']}"


def _transfer(event: Document, paint: Paint) -> str:
    if event["status"] == _NOT_YET:
        outcome = "asked to try again as soon as there is a ticket (480)"
    else:
        outcome = f"call {event['new_call']}" if event["new_call"] else f"refused with {event['status']}"
    return f"the peer asks us to call {event['target']}: {outcome}"


def _conference(event: Document, paint: Paint) -> str:
    return f"{'joins' if event['joined'] else 'leaves'} conference {event['conference']}"


def _conference_changed(event: Document, paint: Paint) -> str:
    if not event["legs"]:
        return f"conference {event['conference']} is over"
    facts = event["security"] or {}
    away = "" if event["present"] else ", without you"
    weakest = f"weakest is call {event['weakest']}: media {facts.get('media')}"
    told = f"conference {event['conference']} of calls {', '.join(event['legs'])}{away}; {weakest}"
    return paint.bad(told) if facts.get("media") == "off" or exposed(facts.get("keying")) else told


def _network(event: Document, paint: Paint) -> str:
    if event["cause"] == "waking":
        return f"this machine slept; it is at {event['now']}"
    return f"this machine is at {event['now']} now, no longer at {event['before'] or 'any address'}"


def _moved(event: Document, paint: Paint) -> str:
    if event["cause"] == "stalled":
        if event["moved"]:
            return "nothing of the peer arrived: another way for the media was agreed, and is tried"
        return paint.bad(
            "nothing of the peer arrives, and another way for the media was not agreed:"
            f" {event['detail']}; hang up and call again"
        )
    if event["moved"]:
        return "the peer sends to our new address"
    return paint.bad(f"the peer does not send to our new address: {event['detail']}")


def _replacement(event: Document, paint: Paint) -> str:
    outcome = f"call {event['new_call']}" if event["new_call"] else f"refused with {event['status']}"
    return f"{event['caller'] or 'somebody'} wants this call's place: {outcome}"


def _played(event: Document, paint: Paint) -> str:
    return "the file has been played"


def _nat_servers(event: Document, paint: Paint) -> str:
    kinds = {
        "none": "no NAT",
        "endpoint-independent": "a NAT that STUN is enough for",
        "symmetric": "a symmetric NAT: calls may need the TURN server",
        "behind-nat": "a NAT",
        "blocked": paint.bad("UDP seems to be blocked: no server answers"),
        "unknown": "not known",
    }
    told = f"between us and the network: {kinds.get(event['kind'], event['kind'])}"
    for name in ("stun", "turn"):
        if event[name] == "ok":
            told += f"; {name.upper()} works"
        elif event[name]:
            told += paint.bad(f"; {name.upper()} does not work: {event[name]}")
    return f"{told}; others see {event['mapped']}" if event["mapped"] else told


def route_words(event: Document) -> str:
    """Return the way of the media in words, for the state line."""
    if event["way"] == "relayed":
        return f"relayed by {event['relay']}"
    return "through a NAT" if event["way"] == "reflexive" else "direct"


def _route(event: Document, paint: Paint) -> str:
    ends = f"{event['local']} ({event['local_kind']}) to {event['remote']} ({event['remote_kind']})"
    return f"stream {event['index']}: the media goes {route_words(event)}: {ends}"


def _sound_device(event: Document, paint: Paint) -> str:
    name = event["name"] or "the system's default"
    text = f"sound {event['role']} {event['state']}: {name}"
    return f"{text}: {event['detail']}" if event["detail"] else text


def _sound_level(event: Document, paint: Paint) -> str:
    bar = "#" * max(0, round((event["rms_db"] + 60) / 2))
    return f"{event['role']:>6} {event['rms_db']:6.1f} dB {bar}"


def _messages_waiting(event: Document, paint: Paint) -> str:
    if not event["waiting"]:
        return "no new message waits (sipmikey messages list)"
    waits = "1 new message waits" if event["new"] == 1 else f"{event['new']} new messages wait"
    return paint.strong(f"{waits}, {event['old']} heard: sipmikey messages list")


def _presence(event: Document, paint: Paint) -> str:
    said = {"open": "can be reached", "closed": "cannot be reached"}.get(
        event["state"], "presence is not known"
    )
    more = ", ".join(quoted for quoted in (event["note"], event["detail"]) if quoted)
    return f"{event['identity']}: {said}" + (f" ({more})" if more else "")


def _mailbox_ready(event: Document, paint: Paint) -> str:
    return f"the mailbox serves at {', '.join(event['urls'])}"


def _message_sent(event: Document, paint: Paint) -> str:
    until = "" if event["valid_until"] is None else f", can be heard until {timestamp(event['valid_until'])}"
    return f"message of {event['duration_s']:.1f} s left for {event['to']}, {event['octets']} octets{until}"


def _message_played(event: Document, paint: Paint) -> str:
    return f"message of {event['duration_s']:.1f} s heard, from {event['from']}, as {event['kms']} says"


def _stats(event: Document, paint: Paint) -> str:
    return "\n".join(
        f"stream {stream['index']} ({stream['codec']}): {stream['sent']} packets sent,"
        f" {stream['decrypted']} verified and decrypted, {stream['lost']} lost"
        for stream in event["streams"]
    )


def _why(event: Document) -> str:
    return f"{event['reason']}: {event['detail']}" if event["detail"] else str(event["reason"])


_TELLERS: dict[str, Callable[[Document, Paint], str]] = {
    "agent.ready": _ready,
    "kms.ready": _kms_ready,
    "reg.ok": _registered,
    "reg.fail": _registration_failed,
    "stack.failed": _stack_failed,
    "kms.request": _kms_request,
    "kms.response": _kms_response,
    "kms.error": _kms_failed,
    "call.out": _call_out,
    "call.redirected": _redirected,
    "call.in": _call_in,
    "call.challenged": _challenged,
    "call.ringing": _ringing,
    "call.end": _ended,
    "fork.candidate": _candidate,
    "fork.committed": _committed,
    "fork.abandoned": _abandoned,
    "mikey.sent": _mikey_sent,
    "mikey.received": _mikey_received,
    "mikey.refused": _refused,
    "policy.refused": _refused,
    "policy.question": _question,
    "policy.fallback": _fallback,
    "policy.alternative": _alternative,
    "media.switched": _switched,
    "media.keyed": _keyed,
    "media.rekeyed": _keyed,
    "media.proven": _proven,
    "media.failed": _media_failed,
    "media.stalled": _media_failed,
    "media.resumed": _resumed,
    "media.expired": _media_failed,
    "transfer.requested": _transfer,
    "replacement.requested": _replacement,
    "call.conference": _conference,
    "conference.changed": _conference_changed,
    "network.changed": _network,
    "call.moved": _moved,
    "dtmf.received": _dtmf,
    "audio.played": _played,
    "nat.servers": _nat_servers,
    "media.path": _route,
    "sound.device": _sound_device,
    "sound.level": _sound_level,
    "mailbox.ready": _mailbox_ready,
    "message.sent": _message_sent,
    "message.played": _message_played,
    "message.waiting": _messages_waiting,
    "presence.changed": _presence,
    "stats": _stats,
}
"""Event type -> what to say of it. The test of this table reads the types from `sipmikey.call.events`."""
