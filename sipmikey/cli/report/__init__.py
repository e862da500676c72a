"""`sipmikey report`: what a developer who looks into a defect has to know, without names and secrets."""
