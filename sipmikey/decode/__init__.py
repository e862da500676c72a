"""Finding and explaining MIKEY messages in text and captures."""
