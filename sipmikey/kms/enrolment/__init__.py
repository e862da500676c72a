"""Enrolment: from a code that a person reads out to a key, a profile and a device that can be revoked alone.

Nothing here does I/O. `codes` writes and reads invitations, `noise` is the handshake, `documents` are what
its messages carry, `device` is the side of the user and `desk` that of the KMS.
docs/kms/enrolment-protocol.md argues the choices.
"""
