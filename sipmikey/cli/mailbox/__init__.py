"""`sipmikey mailbox`: a server that keeps messages it cannot open."""
