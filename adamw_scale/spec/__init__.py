"""The nouns: `run` is what the user trains, read it first; `advice` what is said of it; `measurement` what probes show."""
