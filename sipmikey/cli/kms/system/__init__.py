"""A KMS as a service of the system: its account and its systemd unit."""
