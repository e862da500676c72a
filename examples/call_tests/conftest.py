"""Switch the test kit on: this is all a test suite of your own needs."""

pytest_plugins = ["sipmikey.testing.plugin"]
