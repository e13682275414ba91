"""The nouns: `run`, what the user trains, comes first; `advice` is what is said of it, `measurement` what is seen."""
