"""Users and groups that are kept elsewhere: read from LDAP or told by SCIM, and carried over."""
