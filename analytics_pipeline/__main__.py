"""The command, as ``analytics-pipeline`` and as ``python -m analytics_pipeline``."""

from analytics_pipeline import signals


def main() -> None:
    """Run the command; SIGINT and SIGTERM end it with status 130 and 143."""
    signals.install()
    try:
        # It takes a second to import, in which a signal may come, too.
        from analytics_pipeline.cli import main as command

        command()
    finally:
        signals.end_if_interrupted()


if __name__ == "__main__":
    main()
