"""Make a call from a Python program, play a WAV file, and hang up when it ends.

    python examples/place_call.py sip:bob@example.com --as sip:alice@example.com --psk-id alice \
        --psk-file alice.psk --kms https://kms.example.com --play hello.wav --record heard.wav

Exit status 0 when the call was protected and proven so.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import sys
from pathlib import Path

from sipmikey.agent import Agent, AgentConfig, Audio, CallFailed, KeyManagement, Sip
from sipmikey.kms.client import HttpKmsClient
from sipmikey.mikey import Secret


async def main(args: argparse.Namespace) -> int:
    """Make the call and return the exit status."""
    key = Secret(base64.b64decode(args.psk_file.read_text()))
    config = AgentConfig(
        identity=args.identity,
        keys=KeyManagement(kms=args.kms_identity, psk=key, psk_id=args.psk_id.encode()),
        sip=Sip(bind=args.bind, proxy=args.proxy),
        audio=Audio(device="null", play=args.play, record=args.record),
    )
    async with HttpKmsClient(args.kms) as kms, Agent(config, kms=kms) as agent:
        try:
            call = await agent.call(args.uri, via=args.via)
            await call.established()
            await call.proven()
        except CallFailed as error:
            print(f"no call: {error.reason} ({error.side}): {error.detail}", file=sys.stderr)
            return 1
        security = call.security
        print(f"talking to {security.peer}, as {security.kms} says; {security.suite}")
        async for event in agent.events():
            if event.type in ("audio.played", "call.end"):
                break
        end = await call.hangup()
        print(f"ended after {end.duration_s:.1f} s: {end.reason}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make a call and play a WAV file.")
    parser.add_argument("uri", help="whom to call")
    parser.add_argument("--as", dest="identity", required=True, help="our SIP identity")
    parser.add_argument("--kms", required=True, help="base URL of the KMS")
    parser.add_argument("--kms-identity", default="sip:kms@example.com")
    parser.add_argument("--psk-id", required=True)
    parser.add_argument("--psk-file", type=Path, required=True, help="as `sipmikey kms user add` writes it")
    parser.add_argument("--play", type=Path, required=True, help="WAV file to say")
    parser.add_argument("--record", type=Path, help="WAV file for what is heard")
    parser.add_argument("--bind", default="0.0.0.0", help="local address")
    parser.add_argument("--proxy", help="outbound proxy")
    parser.add_argument("--via", help="where to send the INVITE, without a proxy")
    sys.exit(asyncio.run(main(parser.parse_args())))
