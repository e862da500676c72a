"""Testing other people's KMS or user agent for conformance to RFC 6043, requirement by requirement.

`kms`, `kms_resolve` and `agent` hold the requirements; `suite` tests them and `report` writes what came out.
`broken_kms` and `broken_agent` break one requirement on request: they test others' clients and callers, and
show that the suite finds every break. `http` and `sip_udp` carry the messages, which may be wrong on purpose.
"""
