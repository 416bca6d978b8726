"""What a run is: models, loading, defaults, identity, schema. Pure."""
