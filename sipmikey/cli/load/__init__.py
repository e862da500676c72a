"""`sipmikey load`: many calls to one callee, and how they went."""
