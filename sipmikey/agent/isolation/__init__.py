"""pjsua2 in a process of its own: its protocol, its start, and what happens when it dies."""
