"""ICE for the streams of this stack: the servers that work now, and one search for each stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sipmikey.agent.config import ANY_ADDRESS, AgentConfig
from sipmikey.agent.stack import HelpingServers, StackError
from sipmikey.nat.path import MediaPath
from sipmikey.nat.servers import server_address

if TYPE_CHECKING:
    from sipmikey.nat.ice import IceStream, IceThread


class IceWays:
    """Makes what finds the way of a stream. *thread*: where ICE runs."""

    def __init__(self, config: AgentConfig, thread: IceThread) -> None:
        self._sip = config.sip
        self._thread = thread
        self._servers = HelpingServers()

    def use(self, servers: HelpingServers) -> None:
        """Use these servers from now on."""
        self._servers = servers

    def stream(self, ports: tuple[int, int], told: Callable[[MediaPath], None]) -> IceStream:
        """Return ICE for a stream whose media has these ports on the loopback interface."""
        from sipmikey.nat.ice import IceServers, IceStream, local_hosts

        given = self._servers
        servers = IceServers(
            stun=server_address(given.stun, "nat.stun") if given.stun else None,
            turn=server_address(given.turn, "nat.turn") if given.turn else None,
            username=given.username,
            password="" if given.password is None else given.password.reveal().decode(),
        )
        sip = self._sip
        hosts = local_hosts(sip.bind, any_address=sip.bind in ANY_ADDRESS, ipv6=sip.ipv6)
        return IceStream(self._thread, hosts, servers, ports, told)

    def close(self) -> None:
        """End ICE of all streams."""
        self._thread.close()


def ice_ways(config: AgentConfig) -> IceWays:
    """Return ICE for the streams of an agent. Raises ``StackError`` where aioice is missing."""
    try:
        from sipmikey.nat.ice import IceThread
    except ImportError as error:
        raise StackError(f"ICE needs {error.name}: pip install 'sipmikey[nat]'") from None
    return IceWays(config, IceThread())
