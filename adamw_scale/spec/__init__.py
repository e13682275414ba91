"""The nouns: `run`, what the user trains, is read first; `advice` is what is said of it, `measurement` what was seen."""
