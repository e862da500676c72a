"""The web console: the acts of `sipmikey.kms.administration` for a browser. Needs the extra ``console``."""
