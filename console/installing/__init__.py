"""Enclii in a cluster: what it consists of, how it gets there, and whether it is all there."""
