"""Risk measures, ambiguity sets and the scenario weights they imply."""
