"""What the KMS grants to whom. No I/O."""
