"""CSB updating (RFC 6043 section 5.2), started by either side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sipmikey.keys.transport import seal_keys
from sipmikey.mikey.errors import (
    InvalidTimestamp,
    LocalError,
    MalformedMessage,
    UnexpectedMessage,
    UnsupportedDataType,
)
from sipmikey.mikey.header import GenericIdEntry, Header
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC, KeyData
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.registry import CsIdMapType, DataType, ErrorNo, IdRole, IdType
from sipmikey.mikey.security_policy import SP, policies_by_number
from sipmikey.mikey.ticket import TICKET
from sipmikey.mikey.timestamp import T, Timestamp
from sipmikey.mikey.verification import EXT
from sipmikey.ticket.bundle import CryptoSessionBundle, check_policies, generic_ids, static_payloads
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.error_message import ErrorMessage, build_error
from sipmikey.ticket.protection import seal, verify
from sipmikey.ticket.transfer_message import carried_keys, joined_keys


def is_update(message: Message) -> bool:
    """Return whether a message is an initial message of a CSB update: TRANSFER_INIT without a TICKET.

    A TICKET may be repeated where needed; its CSB ID then tells (RFC 6043 section 5.2).
    """
    return message.header.data_type is DataType.TRANSFER_INIT and message.find(TICKET) is None


class UpdateInitiator:
    """The side that starts an update: the bundle's Initiator or its Responder.

    ``message`` is the TRANSFER_INIT.
    """

    def __init__(self, env: Environment, bundle: CryptoSessionBundle, message: bytes) -> None:
        """Take up an update started before; `start` starts one."""
        self._env = env
        self._bundle = bundle
        self.message = message
        self._parsed = Message.parse(message, env.limits)
        self._sent = self._parsed.one(T).timestamp
        self._keys = carried_keys(env, self._parsed, bundle.protection, allowed=True, what="TRANSFER_INIT")

    @classmethod
    def start(
        cls,
        env: Environment,
        bundle: CryptoSessionBundle,
        *,
        crypto_sessions: Sequence[GenericIdEntry] | None = None,
        policies: Sequence[SP] = (),
        extensions: Sequence[EXT] = (),
        keys: Sequence[KeyData] = (),
        expect_response: bool = True,
    ) -> UpdateInitiator:
        """Build the message. *crypto_sessions* are those of the bundle unless given.

        Raises `LocalError` when the Ticket Policy allows this side no keys (L and M flags).
        """
        _check_own_keys(bundle, keys)
        timestamp = _fresh(env, bundle)
        entries = bundle.entries if crypto_sessions is None else tuple(crypto_sessions)
        header = _header(DataType.TRANSFER_INIT, bundle, entries, v=expect_response)
        idr_i, idr_r = _identities(bundle)
        names = [idr_i, idr_r] if bundle.is_initiator else [idr_r, idr_i]
        payloads: list[Payload] = [
            T(timestamp=timestamp),
            *names,
            *policies,
            *extensions,
            *_kemac(bundle, keys, header, timestamp),
        ]
        message = seal(header, payloads, bundle.suite, bundle.protection, idr_i.data + idr_r.data)
        return cls(env, bundle, message)

    def receive(self, data: bytes) -> CryptoSessionBundle:
        """Verify the response and return the updated bundle.

        Raises `PeerReportedError` for an Error message, otherwise a `PeerError` that says what is wrong.
        """
        env, bundle = self._env, self._bundle
        message = Message.parse(data, env.limits)
        header = message.header
        if header.data_type is DataType.ERROR:
            raise ErrorMessage.read(
                env, message, self._parsed.header, bundle.suite, bundle.protection
            ).exception()
        if header.data_type is not DataType.TRANSFER_RESP:
            raise UnexpectedMessage(
                f"expected TRANSFER_RESP, got {header.data_type.name}", field="data type", offset=1
            )
        _check_header(header, bundle)
        timestamp = message.one(T).timestamp
        env.check_timestamp(timestamp, "TRANSFER_RESP")
        verify(message, bundle.suite, bundle.protection, self.message)
        _check_new(message, bundle)
        _check_key_stream(self._parsed, message)
        keys = carried_keys(
            env, message, bundle.protection, allowed=_peer_may_send_keys(bundle), what="TRANSFER_RESP"
        )
        return _updated(
            bundle, (self._parsed, message), (*self._keys, *keys), sent=self._sent, received=timestamp
        )

    def without_response(self) -> CryptoSessionBundle:
        """Return the updated bundle of an update that asked for no response (V is 0)."""
        if self._parsed.header.v:
            raise LocalError("V is 1: the update waits for its response")
        return _updated(
            self._bundle, (self._parsed,), self._keys, sent=self._sent, received=self._bundle.received
        )


class UpdateResponder:
    """The side that receives an update; verified when made.

    ``crypto_sessions``, ``policies`` and ``extensions`` are what the peer offers; ``response_expected`` is
    the V flag.
    """

    def __init__(self, env: Environment, bundle: CryptoSessionBundle, data: bytes) -> None:
        """Parse and verify.

        Raises `UnexpectedMessage` for another bundle, `InvalidTimestamp` for one that is not new,
        `AuthenticationFailure`, and `MalformedMessage` for new RANDs or tickets (RFC 6043 section 5.2).
        """
        self._env = env
        self._bundle = bundle
        self.message = message = Message.parse(data, env.limits)
        header = message.header
        if header.data_type is not DataType.TRANSFER_INIT:
            raise UnsupportedDataType(
                f"expected TRANSFER_INIT, got {header.data_type.name}", field="data type", offset=1
            )
        _check_header(header, bundle)
        self._received = message.one(T).timestamp
        env.check_timestamp(self._received, "TRANSFER_INIT")
        _check_later(self._received, bundle.received)
        verify(message, bundle.suite, bundle.protection, _identity_octets(message, bundle))
        _check_new(message, bundle)
        self.crypto_sessions = generic_ids(header)
        self.policies = dict(bundle.policies) | policies_by_number(message.all(SP))
        self.extensions = tuple(message.all(EXT))
        check_policies(self.crypto_sessions, self.policies)
        self.response_expected = header.v
        self._keys = carried_keys(
            env, message, bundle.protection, allowed=_peer_may_send_keys(bundle), what="TRANSFER_INIT"
        )
        self.session_keys = joined_keys(bundle.keys, self._keys)

    def respond(
        self,
        *,
        crypto_sessions: Sequence[GenericIdEntry],
        policies: Sequence[SP] = (),
        keys: Sequence[KeyData] = (),
    ) -> tuple[bytes, CryptoSessionBundle]:
        """Return TRANSFER_RESP and the updated bundle; *crypto_sessions* are complete."""
        bundle = self._bundle
        _check_own_keys(bundle, keys)
        timestamp = _fresh(self._env, bundle)
        repeats = timestamp.iv_octets() == self._received.iv_octets()
        if repeats and keys and self.message.find(KEMAC) is not None:
            raise LocalError("both messages would encrypt under the same key stream; answer a moment later")
        header = _header(DataType.TRANSFER_RESP, bundle, tuple(crypto_sessions), v=False)
        own = _identities(bundle)[0 if bundle.is_initiator else 1]
        payloads: list[Payload] = [
            T(timestamp=timestamp),
            own,
            *policies,
            *_kemac(bundle, keys, header, timestamp),
        ]
        answer = seal(header, payloads, bundle.suite, bundle.protection, self.message.raw)
        built = Message.parse(answer, self._env.limits)
        updated = _updated(
            bundle, (self.message, built), (*self._keys, *keys), sent=timestamp, received=self._received
        )
        return answer, updated

    def accept(self) -> CryptoSessionBundle:
        """Return the updated bundle of an update that expects no response."""
        if self.response_expected:
            raise LocalError("V is 1: the update expects a response")
        bundle = self._bundle
        return _updated(bundle, (self.message,), self._keys, sent=bundle.sent, received=self._received)

    def error(self, errors: Sequence[ErrorNo], supported: Sequence[SP] = ()) -> bytes:
        """Return an authenticated Error message about the update."""
        bundle = self._bundle
        return build_error(
            self._env,
            self.message.header,
            errors,
            suite=bundle.suite,
            protection=bundle.protection,
            supported=supported,
        )


def _header(
    data_type: DataType, bundle: CryptoSessionBundle, entries: tuple[GenericIdEntry, ...], *, v: bool
) -> Header:
    return Header(
        data_type=data_type,
        v=v,
        prf=bundle.suite.prf,
        csb_id=bundle.csb_id,
        map_type=CsIdMapType.GENERIC_ID if entries else CsIdMapType.EMPTY,
        crypto_sessions=entries,
    )


def _identities(bundle: CryptoSessionBundle) -> tuple[IDR, IDR]:
    return (
        IDR(role=IdRole.INITIATOR, id_type=IdType.URI, data=bundle.identity_i),
        IDR(role=IdRole.RESPONDER, id_type=IdType.URI, data=bundle.identity_r),
    )


def _identity_octets(message: Message, bundle: CryptoSessionBundle) -> bytes:
    """Return Identity_i || Identity_r, whichever side starts the update; by default the bundle's."""
    idr_i, idr_r = message.find(IDR, IdRole.INITIATOR), message.find(IDR, IdRole.RESPONDER)
    identity_i = bundle.identity_i if idr_i is None else idr_i.data
    identity_r = bundle.identity_r if idr_r is None else idr_r.data
    if (identity_i, identity_r) != (bundle.identity_i, bundle.identity_r):
        raise UnexpectedMessage("names other parties than the bundle's", field="IDR")
    return identity_i + identity_r


def _kemac(
    bundle: CryptoSessionBundle, keys: Sequence[KeyData], header: Header, timestamp: Timestamp
) -> list[Payload]:
    if not keys:
        return []
    suite = bundle.suite
    return [seal_keys(keys, suite.encr_alg, bundle.protection, csb_id=header.csb_id, timestamp=timestamp)]


def _fresh(env: Environment, bundle: CryptoSessionBundle) -> Timestamp:
    """A timestamp later than all this side has sent in the bundle."""
    timestamp = env.timestamp()
    last = bundle.sent
    if last is not None and last.ts_type is timestamp.ts_type and timestamp.value <= last.value:
        raise LocalError("the clock or counter has not moved since the last message of this bundle")
    return timestamp


def _check_later(timestamp: Timestamp, last: Timestamp | None) -> None:
    if last is None:
        return
    if timestamp.is_clock and last.is_clock:
        later = timestamp.unix_ns() > last.unix_ns()
    else:
        later = timestamp.ts_type is last.ts_type and timestamp.value > last.value
    if not later:
        raise InvalidTimestamp(
            "is not later than the last of this bundle", field="T", section="RFC 6043 section 5.2"
        )


def _check_header(header: Header, bundle: CryptoSessionBundle) -> None:
    if header.csb_id != bundle.csb_id:
        raise UnexpectedMessage(f"CSB ID {header.csb_id:08x} is not this bundle's", field="CSB ID", offset=4)
    if header.prf is not bundle.suite.prf:
        raise UnexpectedMessage("PRF func is not this bundle's", field="PRF func", offset=3)


def _check_new(message: Message, bundle: CryptoSessionBundle) -> None:
    """New RANDs and tickets must not be included; those of the initial exchange may be repeated."""
    if not static_payloads(message.payloads) <= bundle.static:
        raise MalformedMessage(
            "a CSB update has no new RAND or TICKET", field="RANDR or TICKET", section="RFC 6043 section 5.2"
        )


def _check_key_stream(first: Message, second: Message) -> None:
    """Both messages are protected with the same keys: equal timestamps would repeat the key stream."""
    both = first.find(KEMAC) is not None and second.find(KEMAC) is not None
    if both and first.one(T).timestamp.iv_octets() == second.one(T).timestamp.iv_octets():
        raise InvalidTimestamp("repeats that of the initial message, and both carry keys", field="T")


def _peer_may_send_keys(bundle: CryptoSessionBundle) -> bool:
    flags = bundle.policy.flags
    return flags.responder_keys if bundle.is_initiator else flags.initiator_keys


def _check_own_keys(bundle: CryptoSessionBundle, keys: Sequence[KeyData]) -> None:
    flags = bundle.policy.flags
    allowed = flags.initiator_keys if bundle.is_initiator else flags.responder_keys
    if keys and not allowed:
        flag = "L" if bundle.is_initiator else "M"
        raise LocalError(f"{flag} is 0: this side supplies no session keys")


def _updated(
    bundle: CryptoSessionBundle,
    messages: tuple[Message, ...],
    keys: Sequence[KeyData],
    *,
    sent: Timestamp | None,
    received: Timestamp | None,
) -> CryptoSessionBundle:
    policies = dict(bundle.policies)
    for message in messages:
        policies |= policies_by_number(message.all(SP))
    return replace(
        bundle,
        entries=generic_ids(messages[-1].header),
        policies=policies,
        keys=joined_keys(bundle.keys, keys),
        sent=sent,
        received=received,
    )
