"""The KMS over HTTP: workers, protocol, limits, metrics."""
