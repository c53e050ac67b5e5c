"""How runs are executed, named and ended: by the daemon's workers and by commands, whatever dies meanwhile."""
