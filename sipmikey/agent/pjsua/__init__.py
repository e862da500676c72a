"""The pjsua2 driver: endpoint, account, calls, callbacks, SRTP and sound."""
