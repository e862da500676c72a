"""This device and the KMS it is enrolled at: an invitation redeemed, profile and keys kept up to date."""
