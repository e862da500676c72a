"""Questions to the KMS, and the tickets that the agent keeps."""
