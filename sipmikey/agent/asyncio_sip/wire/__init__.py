"""What goes over the network: flows, their framing, transactions, and answers to challenges (RFC 3261)."""
