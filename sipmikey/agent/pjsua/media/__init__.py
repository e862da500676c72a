"""The streams of a call on pjsua2: codecs, paths, counts, and what its SRTP and SDP need watched."""
