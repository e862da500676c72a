"""What happens to an INVITE of the caller: branches, their offers, consent, redirection."""
