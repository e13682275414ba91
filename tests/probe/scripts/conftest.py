"""The scripts here are programs that tests start; none is imported."""

collect_ignore_glob = ["*.py"]
