"""The agent's own address in the network, and what follows when it changes."""
