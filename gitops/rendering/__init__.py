"""Kubernetes manifests as plain data, one module for each concern; pure, and the same for the same input.

None of them names a namespace: where they go is the target's decision.
"""
