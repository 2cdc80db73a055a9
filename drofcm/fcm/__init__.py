"""Flexible capacity modules: kinds of technology, their catalogue and how many a node can use."""
