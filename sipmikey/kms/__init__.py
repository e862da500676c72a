"""The key management service (KMS) and its client.

`sipmikey.kms.service` decides without I/O: message bytes in, outcome out. `sipmikey.kms.client` asks a KMS
over HTTP. `policy` says what is granted to whom, `stores` keep subscribers, keys and the audit log, `server`
answers over HTTP, and `subscribers`, `tpk` and `audit` are the records these rooms share. This package
imports none of them by itself: the client and the server need different extras.
"""
