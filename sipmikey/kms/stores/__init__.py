"""Stores of the KMS in SQLite or PostgreSQL, and replay caches in memory, SQLite or Redis.

`sipmikey.kms.stores.open.open_store` opens a store by its URL. Its secrets are encrypted under a master key.
"""
