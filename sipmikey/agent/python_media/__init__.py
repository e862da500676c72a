"""The media of calls in Python, whichever SIP stack they are on: sockets, streams, rooms and recordings."""
