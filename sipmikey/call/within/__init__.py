"""What an established call does: offers of both sides, the age of the keys, transfers."""
