"""What every SIP stack lets in: messages that are SIP, calls and connections at a bounded rate."""
