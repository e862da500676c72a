"""Messages: what events change of those left for us, and of those we leave for others."""
