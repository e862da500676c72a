"""Describing MIKEY messages field by field, for people and for programs."""
