"""What administrators do to a KMS, by commands and by the console alike. Each act is in the audit log."""
