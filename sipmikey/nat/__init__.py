"""Calls through NAT: the servers that help (STUN, TURN), their credentials, and finding out what is there.

Modules by subject: `servers` (which servers, with what credentials), `probe` (do they answer, and what kind
of NAT is this), `path` (the way the media goes). `probe` needs the extra ``sipmikey[nat]``.
"""
