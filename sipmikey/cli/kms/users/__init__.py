"""Subscribers: added by hand or from a file, invited, and their devices."""
