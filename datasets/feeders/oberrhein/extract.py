"""Write the tables of this folder from pandapower's network ``mv_oberrhein``.

pandapower needs older libraries than drofcm, so this runs in an environment of its own (pandapower 3.5.6):
``python datasets/feeders/oberrhein/extract.py``. Afterwards the checksums in datapackage.yaml must be brought up to
date; `verify_datapackage` says which.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandapower
import pandapower.networks
import pandas as pd

HERE = Path(__file__).resolve().parent
AREA = HERE.parents[2] / "geo" / "oberrhein"
NOMINAL_KV = 20.0
OMEGA = 2 * math.pi * 50


def closed_lines(net: Any) -> pd.DataFrame:
    """Lines in service whose switches are all closed."""
    opened = net.switch[(net.switch["et"] == "l") & ~net.switch["closed"]]
    return net.line[net.line["in_service"] & ~net.line.index.isin(opened["element"])]


def charging(net: Any) -> pd.Series:
    """Reactive power that the cables give at nominal voltage, Mvar at each bus: half a line at each end.

    A line that is open at one end gives all of it at the other.
    """
    given = pd.Series(0.0, index=net.bus.index)
    opened = net.switch[(net.switch["et"] == "l") & ~net.switch["closed"]]
    for index, line in net.line[net.line["in_service"]].iterrows():
        dead = set(opened.loc[opened["element"] == index, "bus"])
        live = [bus for bus in (line["from_bus"], line["to_bus"]) if bus not in dead]
        total = OMEGA * line["c_nf_per_km"] * 1e-9 * line["length_km"] * line["parallel"] * NOMINAL_KV**2
        for bus in live:
            given[bus] += total / len(live)
    return given


def main() -> None:
    """Write ``buses.csv``, ``lines.csv``, ``checks.csv`` and the positions in ``geo/oberrhein``."""
    net = pandapower.networks.mv_oberrhein()
    buses = net.bus[net.bus["vn_kv"] == NOMINAL_KV].index
    load = net.load.assign(p=net.load["p_mw"] * net.load["scaling"], q=net.load["q_mvar"] * net.load["scaling"])
    at_bus = load.groupby("bus")[["p", "q"]].sum().reindex(net.bus.index, fill_value=0.0)
    reactive = at_bus["q"] - charging(net)
    table = pd.DataFrame(
        {
            "bus": buses.astype(str),
            "base_load": at_bus.loc[buses, "p"].round(6).to_numpy(),
            "base_reactive": reactive[buses].round(6).to_numpy(),
        }
    )
    table.to_csv(HERE / "buses.csv", index=False)
    lines = closed_lines(net)
    pd.DataFrame(
        {
            "line": [f"{a}-{b}" for a, b in zip(lines["from_bus"], lines["to_bus"], strict=True)],
            "from_bus": lines["from_bus"],
            "to_bus": lines["to_bus"],
            "resistance": (lines["r_ohm_per_km"] * lines["length_km"] / lines["parallel"]).round(6),
            "reactance": (lines["x_ohm_per_km"] * lines["length_km"] / lines["parallel"]).round(6),
            "rating": (math.sqrt(3) * NOMINAL_KV * lines["max_i_ka"] * lines["parallel"] * lines["df"]).round(3),
        }
    ).to_csv(HERE / "lines.csv", index=False)
    solved(net, buses).to_csv(HERE / "checks.csv", index=False)
    places = [json.loads(net.bus.at[bus, "geo"])["coordinates"][:2] for bus in buses]
    positions = pd.DataFrame(places, columns=["longitude", "latitude"])
    positions.insert(0, "id", buses.astype(str))
    AREA.mkdir(parents=True, exist_ok=True)
    positions.round(6).to_csv(AREA / "bus_positions.csv", index=False)


def solved(net: Any, buses: pd.Index) -> pd.DataFrame:
    """Voltages of pandapower's own power flow with 1.03 pu at both 20 kV busbars, without generation."""
    sources = net.trafo["lv_bus"].tolist()
    net.trafo["in_service"] = False
    net.ext_grid["in_service"] = False
    net.sgen["in_service"] = False
    for bus in sources:
        pandapower.create_ext_grid(net, bus, vm_pu=1.03)
    pandapower.runpp(net, numba=False)
    return pd.DataFrame({"bus": buses.astype(str), "v": net.res_bus.loc[buses, "vm_pu"].round(8).to_numpy()})


if __name__ == "__main__":
    main()
