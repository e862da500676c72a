"""SCIM 2.0 (RFC 7643, RFC 7644): an identity provider tells of users and groups. Needs scim2-models."""
