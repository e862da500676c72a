"""The agent's configuration file and `sipmikey config`."""
