"""Where probes run, one file per engine. `serial` is the reference every other one must equal."""
