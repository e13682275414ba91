"""What probes train on: one file per kind of source, each ending in a `dataset.Dataset`."""
