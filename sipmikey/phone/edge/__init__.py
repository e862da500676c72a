"""Where the phone touches the world: the agent, its process, the stores, the keyring."""
