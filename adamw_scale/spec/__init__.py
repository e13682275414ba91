"""The nouns: `run`, what the user trains, is read first; then `advice`, what is said, and `measurement`, what was seen."""
