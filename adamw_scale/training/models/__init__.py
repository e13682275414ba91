"""Small networks that probes train, one file each, written with a leading probe axis."""
