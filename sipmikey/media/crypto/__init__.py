"""SRTP transforms in Python, for what pylibsrtp has no profile for."""
