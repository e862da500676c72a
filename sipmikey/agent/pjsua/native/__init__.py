"""Functions that pjsua2 does not wrap, called in C through its extension module."""
