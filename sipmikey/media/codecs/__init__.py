"""The speech codecs of the media in Python."""
