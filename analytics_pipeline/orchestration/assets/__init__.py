"""The assets, a module per kind."""
