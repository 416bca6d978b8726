"""What a run is in the store: keys, documents, claims, ownership, commits, states, and what is due next."""
