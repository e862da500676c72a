"""The SIP stack on pjsua2: its transports, accounts and calls. All of it runs in the engine's thread."""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sipmikey.agent.config import MAX_CALLS, AgentConfig, Transport
from sipmikey.agent.pjsua.account import PjsuaAccount
from sipmikey.agent.pjsua.call import PjsuaCall, SharedParts
from sipmikey.agent.pjsua.call_table import CallTable
from sipmikey.agent.pjsua.callbacks import offered_streams
from sipmikey.agent.pjsua.endpoint import CallbackEndpoint
from sipmikey.agent.pjsua.library import (
    has_ipv6,
    logged,
    pj,
    reachable,
    read_message,
    typed,
)
from sipmikey.agent.pjsua.media.codec_order import order_codecs
from sipmikey.agent.pjsua.moves import Moves
from sipmikey.agent.pjsua.native.capability import announce
from sipmikey.agent.pjsua.native.codec_name import CodecName
from sipmikey.agent.pjsua.native.functions import c_function
from sipmikey.agent.pjsua.native.gate import Gate
from sipmikey.agent.pjsua.native.passage import Passage
from sipmikey.agent.pjsua.native.refusals import Refusals
from sipmikey.agent.pjsua.native.sdp import SdpPrinter
from sipmikey.agent.pjsua.native.source import PeerSource
from sipmikey.agent.pjsua.native.srtp import NativeSrtp
from sipmikey.agent.pjsua.native.trouble import PacketLog, Trouble
from sipmikey.agent.pjsua.settings import account_config, endpoint_config, fill_servers
from sipmikey.agent.pjsua.sound.sound import Sound
from sipmikey.agent.pjsua.transports import Transports
from sipmikey.agent.screening.arrivals import Arrivals, Connections
from sipmikey.agent.stack import (
    CallObserver,
    Headers,
    HelpingServers,
    Lane,
    Placement,
    StackError,
    StackKeys,
    StackObserver,
)
from sipmikey.sound.commands import Command

if TYPE_CHECKING:
    from sipmikey.agent.python_media.engine import PythonMedia

_log = logging.getLogger("sipmikey.agent.pjsua.stack")

_CONNECTIONS = 40
"""pjsip has 64 handles for all its SIP sockets."""

_SILENT_S = 10.0

_OPUS_TYPE = 114
"""Payload type that we offer Opus with; pjmedia's own codecs have none above 113."""

_ABRUPT = 3
"""Flags of libDestroy: send nothing and wait for nothing; calls and registration have ended before."""


class PjsuaStack:
    """pjsua2 with its transports, accounts and calls.

    *later* runs a callable in the engine's thread after a delay in seconds. *keys*: which pjmedia may make
    itself, None for none. *ports*: what to listen on where the configuration leaves it open. *again*: files
    of a stack that died are kept. *contact*: our Contact, "" for one of our own address.
    """

    def __init__(
        self,
        config: AgentConfig,
        observer: StackObserver,
        later: Callable[[float, Callable[[], None]], None],
        *,
        keys: StackKeys | None = None,
        ports: Mapping[Transport, int] = MappingProxyType({}),
        again: bool = False,
        contact: str = "",
    ) -> None:
        self.config = config
        self.observer = observer
        self.later = later
        self._keys = keys
        self._again = again
        self._contact = contact
        self._passage: Passage | None = None
        self.connections = Connections(most=_CONNECTIONS, silent_s=_SILENT_S)
        self._connections_looked_at = 0.0
        self.calls: CallTable[PjsuaCall] = CallTable()
        self.sound = Sound(config, observer, again=again)
        self.media = (
            _python_media(config, self.sound, again=again) if config.audio.engine == "python" else None
        )
        self.moves = Moves()
        self.registered = False
        self._registering = False
        self._renew_later = False
        self._servers = HelpingServers()
        self._lanes: dict[int, Lane] = {}
        self._settings: dict[Lane, Any] = {}
        self._accounts: dict[Lane, PjsuaAccount] = {}
        # pjlib prints its first lines before any configuration of ours applies.
        c_function("pj_log_set_level")(0)
        self._endpoint = CallbackEndpoint(self)
        self._transports = Transports(config.sip, self._endpoint, ports)
        try:
            with typed("start of pjsua2"):
                self._open()
        except BaseException:
            self.destroy()
            raise

    def _open(self) -> None:
        endpoint = self._endpoint
        if self.config.sip.ipv6 and not has_ipv6():
            raise StackError(
                "this build of pjsua2 has no IPv6: bind to an IPv4 address, or build it with IPv6"
            )
        endpoint.libCreate()
        endpoint.libInit(endpoint_config(self.config, again=self._again, private=self._keys is not None))
        arrivals = Arrivals(per_second=self.config.sip.calls_per_second, now=time.monotonic)
        if self.config.sip.preconditions:
            announce("precondition")
        gate = Gate(arrivals, self.connections)
        self.refusals = Refusals()
        self._shared = SharedParts(
            config=self.config,
            observer=self.observer,
            later=self.later,
            srtp=NativeSrtp(),
            trouble=Trouble(PacketLog()),
            source=PeerSource(),
            sdp=SdpPrinter(),
            sound=self.sound,
            media=self.media,
            moves=self.moves,
            refusals=self.refusals,
            calls=self.calls,
        )
        self._transports.open()
        endpoint.libStart()
        self._open_gate(gate)
        self.sound.open()
        self._transports.open_waker()
        codecs = self.config.audio.offered
        if self.media is not None and "OPUS" in map(str.upper, codecs):
            self._opus = CodecName("opus", clock_rate=48000, channels=2, payload_type=_OPUS_TYPE)
        self.order_codecs(codecs)
        self._create_accounts()

    def _create_accounts(self) -> None:
        keys = self._keys
        for lane in Lane:
            if lane is Lane.BY_STACK and keys is None:
                continue
            settings = account_config(self.config, lane, keys, self._contact)
            if lane is Lane.BY_STACK and keys is not None and keys.only is not None:
                # Keys in a description leave over TLS or not at all.
                settings.sipConfig.transportId = self._transports.numbers[Transport(keys.only)]
            self._settings[lane] = settings
            self._create_account(lane)

    def _create_account(self, lane: Lane) -> None:
        account = PjsuaAccount(self, self.observer, lane)
        with typed("account"):
            account.create(self._settings[lane])
        self._accounts[lane] = account
        self._lanes[account.getId()] = lane

    def _acknowledged(self, text: bytes) -> None:
        """An ACK came, which may carry an answer: judge it before pjsip uses it."""
        waiting = [call for call in self.calls.living if call.awaits_ack]
        if not waiting:
            return
        with logged("an ACK"):
            message = read_message(text.decode("utf-8", "surrogateescape"))
            for call in waiting:
                if call.sip_call_id == message.first("call-id"):
                    call.on_ack(message)

    def _open_gate(self, gate: Gate) -> None:
        """Let messages in, once the gate has seen one; over UDP, for the time of that."""
        self._gate = gate
        gate.on_ack = self._acknowledged
        with self._transports.over_udp() as address:
            gate.open(address, self._endpoint.libHandleEvents)

    def share_port(self, secret: str, place: Callable[[str], str]) -> None:
        """Pass calls on that other processes have, or are to have by what *place* says. See `Passage`."""
        own = self.addresses[Transport.UDP]
        ports = {
            str(name): int(address.rpartition(":")[2])
            for name, address in self.addresses.items()
            if name is not Transport.UDP
        }
        self._passage = self._gate.passage = Passage(
            own=own, reach=reachable(own), ports=ports, secret=secret, place=place,
            connections=self.connections,
        )  # fmt: skip

    def relay(self, sip_call_id: str, address: str) -> None:
        """Pass messages for that call on to ``host:port``; "" when the call is over."""
        if self._passage is not None:
            self._passage.relay(sip_call_id, address)

    def order_codecs(self, wanted: tuple[str, ...]) -> None:
        """Offer the codecs *wanted*, best first, and no others, from the next offer on.

        An empty *wanted* means all. Raises ``LocalError`` for one that this build of pjsua2 does not have,
        and for L16, with which pjmedia ends the process.
        """
        order_codecs(self._endpoint, wanted)

    def use_servers(self, servers: HelpingServers) -> None:
        """Let these servers help the media of calls made from now on."""
        if servers == self._servers:
            return
        self._servers = servers
        if servers.stun:
            with typed("STUN server"):
                self._endpoint.natUpdateStunServers(pj.StringVector([servers.stun]), False)
        for lane, settings in self._settings.items():
            if lane is not Lane.REFUSED:
                fill_servers(settings, servers)
                self._renew_account(lane)

    def _renew_account(self, lane: Lane) -> None:
        """Apply an account's settings. pjsip then registers the account in any case."""
        account = self._accounts[lane]
        with typed("account"):
            if lane is not Lane.SECURED or self.registered or not self.config.sip.registrar:
                account.modify(self._settings[lane])
            elif self._registering or self.calls.living:
                self._renew_later = True
            else:
                account.shutdown()
                # If its destructor ran later, it would delete a newer account with the same number.
                del account, self._accounts[lane]
                gc.collect()
                self._create_account(lane)

    def on_registration(self, status: int, reason: str, expires_s: int) -> None:
        """Pass on the registrar's answer, and start what had to wait for it."""
        self._registering = False
        self.registered = status // 100 == 2 and expires_s > 0
        self.observer.on_registration(status, reason, expires_s)
        if self._renew_later:
            self._renew_later = False
            self.later(0.0, lambda: self._renew_account(Lane.SECURED))

    def sound_command(self, command: Command) -> None:
        """Carry out *command* on the sound devices."""
        self.sound.obey(command)

    @property
    def addresses(self) -> Mapping[Transport, str]:
        """``host:port`` that each transport listens on."""
        return self._transports.addresses

    @property
    def busy(self) -> bool:
        """True while calls exist or the registrar has not confirmed that we left."""
        return bool(self.calls.living) or self.registered

    @property
    def presence(self) -> None:
        """None: there is no presence on this stack."""

    @property
    def can_be_woken(self) -> bool:
        """False where nothing but time ends a poll."""
        return self._transports.can_be_woken

    def wake(self) -> None:
        """End the poll under way; from any thread."""
        self._transports.wake()

    def standing_still(self) -> AbstractContextManager[None]:
        """A context in which the stack does only what it is asked: always true between two polls."""
        return contextlib.nullcontext()

    def poll(self, wait_ms: int) -> None:
        """Handle what came in, waiting at most *wait_ms* for something to come."""
        self._endpoint.libHandleEvents(wait_ms)
        self.calls.bury()
        if (now := time.monotonic()) - self._connections_looked_at > 1.0:
            self._connections_looked_at = now
            for transport in self.connections.due(now):
                self.shutdown_transport(transport)
        if self.media is not None:
            self.media.tell_digits()
            if self.media.take_played():
                self.observer.on_played()
        for news in self.sound.take_news():
            self.observer.on_sound_news(news)

    def shutdown_transport(self, transport: int) -> None:
        """Close a connection, once nothing uses it. *transport*: address of the ``pjsip_transport``."""
        c_function("pjsip_transport_shutdown")(transport)

    def connection_changed(self, transport: int, state: int) -> None:
        """pjsip tells that a TCP or TLS connection came or went."""
        if state == pj.PJSIP_TP_STATE_CONNECTED:
            self.connections.opened(transport, time.monotonic())
            if len(self.connections) > _CONNECTIONS:
                for one in self.connections.due(time.monotonic()):
                    self.later(0.0, partial(self.shutdown_transport, one))
        elif state in (pj.PJSIP_TP_STATE_DISCONNECTED, pj.PJSIP_TP_STATE_SHUTDOWN, pj.PJSIP_TP_STATE_DESTROY):
            self.connections.closed(transport)

    def ready_in(self, streams: int) -> float | None:
        """Return seconds until a call of *streams* can be made; None when one must end first."""
        return self.calls.ready_in(streams)

    def make_call(
        self, uri: str, lane: Lane, observer: CallObserver, headers: Headers, via: str | None
    ) -> PjsuaCall:
        """Send an INVITE for *uri*, to *via* when given. Raises ``StackError``."""
        streams = self.config.audio.streams
        if lane not in self._accounts:
            raise StackError(f"policy does not allow {lane} calls")
        if self.ready_in(streams) != 0.0:
            raise StackError(f"all {MAX_CALLS} calls of this process are taken")
        call = PjsuaCall(self._shared, self._accounts[lane], observer, streams)
        observer.on_attached(call)
        self.calls.add(call, streams)
        try:
            call.invite(uri, headers, self._target(uri, via))
        except BaseException:
            self.calls.remove(call)
            raise
        return call

    def send_message(self, uri: str, content_type: str, body: str, headers: Headers) -> None:
        """Send a MESSAGE (RFC 3428); its response is ignored. Raises ``StackError``."""
        # pjsua2 sends messages to "buddies" only. This one is forgotten as soon as the message is made.
        buddy, who, prm = pj.Buddy(), pj.BuddyConfig(), pj.SendInstantMessageParam()
        who.uri = uri
        prm.contentType, prm.content = content_type, body
        prm.txOption.targetUri = self._target(uri, None)
        for name, value in headers:
            header = pj.SipHeader()
            header.hName, header.hValue = name, value
            prm.txOption.headers.append(header)
        with typed("a message"):
            buddy.create(self._accounts[Lane.SECURED], who)
            buddy.sendInstantMessage(prm)

    def _target(self, uri: str, via: str | None) -> str:
        """Return the Request-URI where it is not *uri*: an address given, or a transport named."""
        named = self.config.sip.named_transport
        if named is None or self.config.sip.proxy or "transport=" in (via or uri):
            return via or ""
        return f"{via or uri};transport={named}"

    def choose_account(self, text: str, source: str) -> int:
        """Return the number of the account for an INVITE, before the stack opens any socket for it."""
        placement = Placement(lane=Lane.REFUSED)
        try:
            invite = read_message(text)
            if self.calls.admits(offered_streams(invite)):
                placement = self.observer.on_invite(invite, source)
                # The stack itself may refuse it, before the agent knows of the call.
                self.refusals.explain(invite.first("call-id") or "", 0, placement.headers)
        except Exception:  # noqa: BLE001 - an unjudged INVITE is refused
            _log.exception("an INVITE could not be judged")
        return int(self._accounts[placement.lane].getId())

    def accept_incoming(self, account: PjsuaAccount, number: int, text: str, source: str) -> None:
        invite = read_message(text)
        streams = 0 if account.lane is Lane.REFUSED else offered_streams(invite)
        call = PjsuaCall(self._shared, account, None, streams, number)
        self.calls.add(call, streams)

        def introduce() -> None:
            call.observe(self.observer.on_incoming(call, invite, source, account.lane))

        if self.config.nat.uses_ice and account.lane is not Lane.REFUSED:
            # Until its candidates are there, the stack has no description that could be answered with.
            call.introduce_later(introduce)
        else:
            introduce()

    def follow_address(self) -> None:
        """Our address changed: listen on the same ports of the new one, and register if we are registered."""
        change = pj.IpChangeParam()
        change.restartListener = True
        change.shutdownTransport = True
        before = dict(self.addresses)
        with typed("a change of address"):
            self._endpoint.handleIpChange(change)
            self._transports.look_again()
        for transport, address in self.addresses.items():
            self.moves.went(_host(before[transport]), _host(address))

    def set_registration(self, renew: bool) -> None:
        with typed("registration" if renew else "end of registration"):
            self._registering = True
            self._accounts[Lane.SECURED].setRegistration(renew)

    def leave(self) -> None:
        """Hang up everything and leave the registrar."""
        for call in list(self.calls.living):
            with contextlib.suppress(StackError):
                call.hangup()
        if self.registered:
            with contextlib.suppress(StackError):
                self.set_registration(False)

    def destroy(self) -> None:
        """Free everything in the order pjsua2 demands: audio, calls, accounts, library."""
        self.sound.close()
        self.calls.clear()
        if self.media is not None:
            self.media.close()
        for account in self._accounts.values():
            with contextlib.suppress(pj.Error):
                account.shutdown()
        self._accounts.clear()
        self._transports.close()
        if self._passage is not None:
            self._passage.close()
        # What a reference cycle still holds would be freed after the library, which aborts the process.
        gc.collect()
        with contextlib.suppress(pj.Error):
            self._endpoint.libDestroy(_ABRUPT)


def _python_media(config: AgentConfig, sound: Sound, *, again: bool) -> PythonMedia:
    from sipmikey.agent.python_media.engine import PythonMedia

    return PythonMedia(config, sound, again=again)


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")
