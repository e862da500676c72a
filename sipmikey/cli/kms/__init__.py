"""`sipmikey kms`."""
