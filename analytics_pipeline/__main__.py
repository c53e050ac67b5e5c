"""Lets ``python -m analytics_pipeline`` run the command."""

from analytics_pipeline.cli import main

main()
