"""The media of calls on this stack: descriptions, keys in them, streams, ICE."""
