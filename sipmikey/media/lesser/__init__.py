"""Protection that is less than tickets give: keys without an SSRC, and none. Only where policy says so."""
