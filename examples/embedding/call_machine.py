"""A forked call by sipmikey's call machine, on a SIP stack that is a list of messages.

    python examples/embedding/call_machine.py [--tampered]

Alice calls Bob, whose desk phone and mobile both answer. Her machine decides which of them gets the call,
keys the stream with that branch's keys only, and ends the other answer; then Bob's phone gives new keys. With
``--tampered`` the desk phone's answer is altered on its way: it is refused, and the mobile gets the call.

A stack of yours does what `Party.carry_out` does here: it sends what the machine wants sent, and tells the
machine what came. Exit status: 0 when both sides run on the same keys, 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Callable
from functools import partial

from memory_kms import MemoryKms
from offer_answer import ALICE, BOB, ENV, KMS, description, get_ticket

from sipmikey.call import (
    CalleeMachine,
    CallerMachine,
    CallMachine,
    CallPolicy,
    CallSettings,
    Invitation,
    SrtpKeys,
    StandardKeyings,
    events,
    inputs,
    outputs,
)
from sipmikey.call.keying.ticket import TICKET
from sipmikey.ticket import PreSharedKey

POLICY = CallPolicy()  # MIKEY-TICKET or no call

WIRE: deque[Callable[[], None]] = deque()
"""What is under way between the parties; to take a message off is to deliver it."""


class Party:
    """One side of the call. *peers*: the other side, by To-tag."""

    def __init__(self, name: str, machine: CallMachine, kms: MemoryKms) -> None:
        self.name = name
        self.machine = machine
        self.kms = kms
        self.peers: dict[str, Party] = {}
        self.keys: SrtpKeys | None = None
        self.timers: dict[outputs.Timer, float] = {}
        self.described = ""

    def tell(self, *items: inputs.Input) -> None:
        """Give the machine inputs, and do what it wants."""
        for item in items:
            for output in self.machine.take(item):
                self.carry_out(output)

    def carry_out(self, output: outputs.Output) -> None:
        """Do one thing that the machine wants."""
        match output:
            case outputs.Describe():
                self.described = output.sdp
            case outputs.Withhold():
                raise output.error
            case outputs.Key():
                # Give them to your SRTP library, then say that they are in use.
                self.keys = output.keys
                self.tell(inputs.StreamKeyed(index=output.index))
            case outputs.Unkey():
                self.keys = None
            case outputs.StartTimer():
                # Have your event loop call tell(inputs.Rang(timer=...)) after so many seconds.
                self.timers[output.timer] = output.after_s
            case outputs.StopTimer():
                self.timers.pop(output.timer, None)
            case outputs.AskKms():
                # A real KMS is asked over HTTPS. It answers later, or KmsFailed says why it does not.
                self.tell(inputs.KmsAnswered(response=self.kms.ask(output.message)))
            case outputs.Tell():
                self.show(output.event)
            case _:
                self.send(output)

    def send(self, output: outputs.Output) -> None:
        """Send what concerns the other side."""
        match output:
            case outputs.Reinvite():
                self.tell(inputs.LocalDescription(sdp=description(self.name, 5000)))
                self.tell(inputs.Sent(message=inputs.Message(method="INVITE", sdp=self.described)))
                for peer in self.peers.values():
                    WIRE.append(partial(peer.reinvited, self, self.described))
            case outputs.EndInvite():
                WIRE.append(self.peers[output.to_tag].ended)
                self.tell(inputs.Disconnected(status=200))

    def reinvited(self, peer: Party, sdp: str) -> None:
        """Take a re-INVITE: the machine permits it or not, and completes our answer."""
        self.tell(inputs.RemoteOffer(sdp=sdp))
        self.tell(inputs.LocalDescription(sdp=description(self.name, 4000), remote=sdp))
        answer = inputs.Message(method="INVITE", status=200, to_tag=self.name, sdp=self.described)
        self.tell(inputs.Sent(message=answer))
        WIRE.append(partial(peer.tell, inputs.Received(message=answer)))

    def ended(self) -> None:
        """Take a BYE."""
        bye = inputs.Message(method="BYE")
        self.tell(inputs.Received(message=bye), inputs.Disconnected(status=200))

    def show(self, event: events.Event) -> None:
        """Print what happens; keys as fingerprints."""
        match event:
            case events.CallAnswered(security=security):
                print(f"{self.name}: established with {security.peer}, {security.kms} vouches for that")
            case events.ForkCandidate() | events.ForkCommitted():
                print(f"{self.name}: {event.type} {event.to_tag}")
            case events.ForkAbandoned():
                print(f"{self.name}: {event.type} {event.to_tag}: {event.reason}")
            case events.MediaKeyed() | events.MediaRekeyed():
                print(f"{self.name}: {event.type} send key {event.send_key} receive key {event.receive_key}")
            case events.CallEnded():
                print(f"{self.name}: over: {event.reason}")


class Caller(Party):
    """Alice. *forward* plays the proxy: it takes the INVITE to Bob's phones."""

    def __init__(
        self, kms: MemoryKms, credential: PreSharedKey, forward: Callable[[Caller, str], None]
    ) -> None:
        machine = CallerMachine(
            "1",
            CallSettings(identity=ALICE, policy=POLICY),
            ENV,
            StandardKeyings(ENV, POLICY, identity=ALICE, credential=credential, kms=KMS),
            uri=BOB,
            called=BOB,
            grant=get_ticket(kms, credential),
        )
        super().__init__("alice", machine, kms)
        self._forward = forward
        self._confirmed = False

    def send(self, output: outputs.Output) -> None:
        match output:
            case outputs.Invite():
                self.tell(inputs.Attached(), inputs.LocalDescription(sdp=description("alice", 4000)))
                self.tell(inputs.Sent(message=inputs.Message(method="INVITE", sdp=self.described)))
                self._forward(self, self.described)
            case outputs.Acknowledge():
                WIRE.append(partial(self.peers[output.to_tag].tell, inputs.Confirmed()))
            case outputs.EndBranch():
                print(f"alice: BYE to {output.to_tag} {dict(output.headers).get('Reason', '')}")
                WIRE.append(self.peers.pop(output.to_tag).ended)
            case _:
                super().send(output)

    def respond(self, phone: Phone, status: int, sdp: str | None = None) -> None:
        """Take a response of one branch. Its description makes a stream, which has no keys yet."""
        self.peers[phone.name] = phone
        if sdp is not None and self.keys is None:
            self.tell(inputs.StreamCreated(index=0))
        if status == 200 and not self._confirmed:
            self._confirmed = True
            self.tell(inputs.Confirmed())
        message = inputs.Message(method="INVITE", status=status, to_tag=phone.name, sdp=sdp)
        self.tell(inputs.Received(message=message))


class Phone(Party):
    """One of Bob's phones, called by *caller* with *offer*. *altered*: its answer is altered on the way."""

    def __init__(
        self,
        name: str,
        kms: MemoryKms,
        credential: PreSharedKey,
        caller: Caller,
        offer: str,
        *,
        altered: bool,
    ) -> None:
        keyings = StandardKeyings(ENV, POLICY, identity=BOB, credential=credential, kms=KMS)
        keying = keyings.called(TICKET, caller=ALICE, offer=offer)
        settings = CallSettings(identity=BOB, policy=POLICY)
        invitation = Invitation(caller=ALICE, called=BOB, sdp=offer)
        super().__init__(name, CalleeMachine("1", settings, ENV, invitation, keying), kms)
        self._caller = caller
        self._offer = offer
        self._altered = altered
        self.peers[""] = caller

    def invited(self) -> None:
        """Take the INVITE: our answer, which the machine completes when the user accepts, and off it goes."""
        own = inputs.LocalDescription(sdp=description(self.name, 5000), remote=self._offer)
        self.tell(own, inputs.Start())

    def send(self, output: outputs.Output) -> None:
        match output:
            case outputs.Rings():
                WIRE.append(partial(self._caller.respond, self, 180))
                WIRE.append(partial(self.tell, inputs.Accept()))
            case outputs.Answer():
                sdp = output.sdp or ""
                message = inputs.Message(method="INVITE", status=output.status, to_tag=self.name, sdp=sdp)
                self.tell(inputs.StreamCreated(index=0), inputs.Sent(message=message))
                sent = _alter(sdp) if self._altered else sdp
                WIRE.append(partial(self._caller.respond, self, output.status, sent))
            case _:
                super().send(output)


def _alter(sdp: str) -> str:
    """Return *sdp* with one bit of its TRANSFER_RESP turned, near the end, where the MAC is."""
    begin, marker, rest = sdp.partition("a=key-mgmt:mikey ")
    message, end, behind = rest.partition("\r\n")
    at = len(message) - 12
    other = "A" if message[at] != "A" else "B"
    return begin + marker + message[:at] + other + message[at + 1 :] + end + behind


def deliver() -> None:
    """Deliver what is under way until nothing is."""
    while WIRE:
        WIRE.popleft()()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="A forked call by sipmikey's call machine.")
    parser.add_argument("--tampered", action="store_true", help="alter the desk phone's answer on its way")
    tampered = parser.parse_args(arguments).tampered
    kms = MemoryKms(ENV, KMS)
    alices_key, bobs_key = kms.add(ALICE), kms.add(BOB)

    def fork(caller: Caller, offer: str) -> None:
        for name in ("desk", "mobile"):
            altered = tampered and name == "desk"
            phone = Phone(name, kms, bobs_key, caller, offer, altered=altered)
            WIRE.append(phone.invited)

    alice = Caller(kms, alices_key, fork)
    alice.tell(inputs.Start())
    deliver()
    (bob,) = alice.peers.values()
    bob.tell(inputs.Propose(kind=inputs.Kind.REKEY, token=1))
    deliver()
    agreed = _mirrored(alice.keys, bob.keys)
    alice.tell(inputs.Hangup())
    deliver()
    print("both sides have the same keys" if agreed else "THE KEYS DIFFER")
    return 0 if agreed else 1


def _mirrored(one: SrtpKeys | None, other: SrtpKeys | None) -> bool:
    if one is None or other is None:
        return False
    pairs = ((one.send, other.receive), (one.receive, other.send))
    return all(here.fingerprint() == there.fingerprint() for here, there in pairs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
