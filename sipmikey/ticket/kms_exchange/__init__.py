"""What Ticket Request and Ticket Resolve share: both are an exchange of a client with the KMS."""
