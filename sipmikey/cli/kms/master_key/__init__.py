"""`sipmikey kms master-key`: wrap the key that opens all others, and change it while the KMS serves."""
