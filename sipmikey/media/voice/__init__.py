"""A stream's own voice and ear: packets to samples, samples to packets."""
