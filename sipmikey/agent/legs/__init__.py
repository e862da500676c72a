"""One call in the engine's thread: its attempts, keys, streams and end."""
