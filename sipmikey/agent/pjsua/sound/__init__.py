"""The sound of calls on pjmedia: files, devices, recordings."""
