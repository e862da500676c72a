"""What the agent asks of a KMS, and the tickets it keeps."""
