"""The container's first process: it starts the program, signals it, ships its logs, commits its work, names its end."""
