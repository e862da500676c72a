"""Secrets of a person on this machine: in the keyring of the system, or sealed in files by a key from it."""
