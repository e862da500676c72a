"""What a call tells and what decides it: events, reasons, policy, consent, branches. No I/O."""
