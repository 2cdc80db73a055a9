"""Checks of inputs, plans and results that do not trust the model or the solver."""
