"""Message ladders: how they are drawn, and what the events of a call draw."""
