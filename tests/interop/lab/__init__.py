"""The interop lab: real peers, a private network, captures and what is read out of them."""
