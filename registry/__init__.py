"""Digests, manifests, signatures, the journal, MLflow. Knows nothing of what a model does."""
