"""Scenario ensembles: how they are generated, aggregated and checked; feeder quantities come in as labelled arrays."""
