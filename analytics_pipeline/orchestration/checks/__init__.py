"""The asset checks, a module per subject."""
