"""The organisation's OpenID provider, as the KMS asks it. Needs aiohttp and joserfc."""
