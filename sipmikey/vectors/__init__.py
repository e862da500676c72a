"""Reading and checking files of test vectors."""
