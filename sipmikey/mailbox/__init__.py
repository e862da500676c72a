"""A mailbox server: it keeps messages that it cannot open, for users who prove that a box is theirs."""
