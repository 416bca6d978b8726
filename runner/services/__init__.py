"""One module per use case: no click, no printing."""
