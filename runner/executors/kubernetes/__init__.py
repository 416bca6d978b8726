"""Jobs on a Kubernetes cluster: manifests that are filled, an API client, and what a cluster's documents mean."""
