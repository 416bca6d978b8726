"""The command line: click, thin and lazy; all output formatting."""
