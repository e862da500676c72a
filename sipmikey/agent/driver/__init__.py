"""What carries the outputs of the call machine out on the SIP stack."""
