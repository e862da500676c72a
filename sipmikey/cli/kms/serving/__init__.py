"""What `sipmikey kms serve` serves beside phones and devices."""
