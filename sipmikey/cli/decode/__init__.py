"""`sipmikey decode`."""
