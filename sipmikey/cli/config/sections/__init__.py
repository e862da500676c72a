"""The sections of the agent's configuration, by subject."""
