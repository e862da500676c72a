"""SIP text: messages, Contact lists, IP versions."""
