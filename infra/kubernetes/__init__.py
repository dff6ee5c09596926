"""Revisions and routes in a Kubernetes cluster: the ports of `canary.ports`, for production.

Nothing here knows why it is called, and nothing remembers: what is true is asked of the cluster.
"""
