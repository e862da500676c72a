"""What pjsua2 does not wrap, through the C functions that its extension module exports."""
