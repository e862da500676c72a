"""What keys the media of a call: MIKEY-TICKET, SDES, or nothing. One file each behind ``Keying``."""
