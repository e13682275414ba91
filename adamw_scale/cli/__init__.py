"""The command line: one file per command, each parse -> core -> render. The only place that imports rich."""
