"""Group sessions over SIP: a chair, members, and a group key (RFC 6043 section 9)."""
