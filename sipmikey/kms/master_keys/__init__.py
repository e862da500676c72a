"""Master keys that lie wrapped in a file, under a key that a token (PKCS#11) or a Vault keeps."""
