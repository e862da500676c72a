"""Crypto sessions into SRTP, and an RTP endpoint in Python.

Modules by subject: `profile` and `keying` (which SRTP, with which lengths and keys), `srtp` (protect,
unprotect, rekey), `early` (media before the answer), `stream` and `endpoint` (RTP calls), `group`
(multicast). Needs the extra ``sipmikey[media]``; `profile`, `keying`, `rtp` and `rtcp` do not.
"""
