"""The drivers of the call machine: they carry its outputs out on the SIP stack."""
