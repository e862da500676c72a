"""`sipmikey report`: what somebody who looks into a defect has to know, without names and secrets."""
