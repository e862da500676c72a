"""A KMS and user agents with a requirement broken: for others' clients, and to show what the suite finds."""
