"""What ``up`` needs to run programs: one ``up`` for each home, their output, starting them again."""
