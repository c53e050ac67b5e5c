"""The addresses, a module for each subject; each route is a few lines."""
