"""`sipmikey messages`, and leaving them with `sipmikey call --leave-message`."""
