"""`sipmikey demo`."""
