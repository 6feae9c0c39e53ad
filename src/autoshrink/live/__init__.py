"""A page on which people watch a run, and steer it: what serves it. It reads logs, and never writes one."""
