"""Everything that imports dagster: resources, partitions, assets, checks, jobs."""
