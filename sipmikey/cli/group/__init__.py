"""`sipmikey group`: open the session of a group, or join one."""
