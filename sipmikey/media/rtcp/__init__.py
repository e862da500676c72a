"""RTCP (RFC 3550 section 6): the packets, and the reports of a stream."""
