"""pjsua2 in a process of its own: what it is told and tells, its start, and what becomes of a dead one."""
