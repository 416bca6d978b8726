"""Where jobs run: local processes, a Kubernetes cluster. Executors know jobs, not runs."""
