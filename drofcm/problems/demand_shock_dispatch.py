"""The dispatch that is shown of the demand-shock problem: FORMULATION A.6.

At equal cost a store may pulse and rest beside load that is dark. An operator serves what can be served at once, leaves
what cannot be served to the end, and then moves every fleet as little as possible.
"""

from __future__ import annotations

import xarray as xr
from linopy.expressions import LinearExpression

from drofcm.dsl.stage import Stage
from drofcm.fcm.requirement import step_end

__all__ = ["serve_early_and_steadily"]


def serve_early_and_steadily(m: Stage, data: xr.Dataset) -> list[LinearExpression]:
    """A.6 (ii) and (iii), at the cost of (i).

    Returns
    -------
    list
        What is unserved or unabsorbed, weighed with the time left until the event ends, MWh h; and by how much the net
        output of each fleet changes from step to step, MW; both over scenario.
    """
    end = step_end(data)
    middle = end - data.step_length / 2
    left = end.isel(time=-1, drop=True) - middle
    imbalance = m["unserved_critical"] + m["unserved_flexible"] + m["unabsorbed"]
    early = (left * data.step_length * imbalance.fillna(0)).sum(["node", "time"])

    delivered = m["discharge"].fillna(0) + m["generation"].fillna(0) + m["demand_response"].fillna(0)
    output = delivered - m["charge"].fillna(0)
    change = output - output.shift(time=1).fillna(0)
    moved = m.nonnegative("output_change", over="node fcm time", where=data.fleet)
    m.subject_to("output_rises", change <= moved, where=data.fleet_in_time)
    m.subject_to("output_falls", -change <= moved, where=data.fleet_in_time)
    return [early, moved.fillna(0).sum(["node", "fcm", "time"])]
