"""A study small enough to be run in a test: two data centres, three events, five steps."""

from __future__ import annotations

TINY = """\
name: tiny
seed: 7
data_centres:
  - {bus: "4", rating_mw: 1.6}
  - {bus: "24", rating_mw: 2.0, running_mw: 0.4}
events: {scenarios: 3, fault_lines: ["3-23", "30-31"]}
steps_min: [{count: 3, length: 10}, {count: 2, length: 60}]
"""
