"""The sensors, a module per subject."""
