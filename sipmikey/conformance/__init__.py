"""Testing other people's KMS or user agent for conformance to RFC 6043, requirement by requirement.

`kms`, `kms_resolve`, `kms_public_key`, `agent`, `agent_resolve`, `agent_modes` and `agent_update` hold the
requirements; `suite` tests them and `report` writes what came out. The parties in `broken` break one
requirement on request: they test others' clients and callers, and show that the suite finds every break.
`http` and `sip_udp` carry the messages, which may be wrong on purpose.
"""
