"""aioice, as far as it is used here. Needs the extra ``sipmikey[nat]``."""

from aioice import Candidate as AioiceCandidate
from aioice import stun, turn
from aioice.ice import CandidatePair, Connection, get_host_addresses

__all__ = ["AioiceCandidate", "CandidatePair", "Connection", "get_host_addresses", "stun", "turn"]
