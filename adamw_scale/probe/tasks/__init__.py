"""What probes train on: data, model and loss, one file per task."""
