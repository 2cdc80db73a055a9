"""A flood closes a bridge: arrival times change, and with them the hub to open. All figures are worked out here.

            12 km, bridge                24 km
    hub h ----------------- node 3 ----------------- hub k        60 km/h everywhere
      |                                                |
      +------------------- 36 km ----------------------+

One generator of 0.8 MW, at work when it arrives. Node 3 misses 0.5 MW for steps of 0.25, 0.25 and 0.5 h, at 10,000
$/MWh; nothing else costs but the hubs: h 1,000, k 1,500 $/a. One event a year, of two equally likely.

| way | hours | at work from | unserved, MWh | $ |
| --- | --- | --- | --- | --- |
| from h by the bridge | 0.2 | 0.25 h | 0.125 | 1,250 |
| from k | 0.4 | 0.5 h | 0.25 | 2,500 |
| from h past k | 1.0 | after the last step has begun | 0.5 | 5,000 |

Bridge open in both events: h costs 1,000 + 1,250 = 2,250, k 1,500 + 2,500 = 4,000. Bridge closed in one of them: h
costs 1,000 + (1,250 + 5,000) / 2 = 4,125, k still 4,000; both hubs and a generator at each cost
2,500 + (1,250 + 2,500) / 2 = 4,375.
"""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr
from cases.builder import bridge_data
from cases.enumeration import Enumeration
from cases.model import solve_and_certify
from shapely.geometry import LineString, Point, box

from drofcm.core.errors import InputError
from drofcm.problems import demand_shock
from drofcm.problems.demand_shock_data import expected_value
from drofcm.siting.roads import RoadNetwork, closed_by

CRS = "EPSG:32632"
RISK = {"expectation": 1.0}
CORNER = {"h": (400_000.0, 5_300_000.0), "3": (412_000.0, 5_300_000.0), "k": (436_000.0, 5_300_000.0)}


def points(*labels: str) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"id": list(labels)}, geometry=[Point(CORNER[label]) for label in labels], crs=CRS)


@pytest.fixture(scope="module")
def network() -> RoadNetwork:
    ends = [("h", "3"), ("3", "k"), ("h", "k")]
    columns = {"id": ["bridge", "east", "south"], "speed_km_h": 60.0, "length_km": [12.0, 24.0, 36.0]}
    lines = [LineString([CORNER[a], CORNER[b]]) for a, b in ends]
    # the road from h to k runs south of the others
    lines[2] = LineString([CORNER["h"], (418_000.0, 5_297_000.0), CORNER["k"]])
    return RoadNetwork.from_layer(gpd.GeoDataFrame(columns, geometry=lines, crs=CRS))


def travel_time(network: RoadNetwork, *, flooded: bool) -> xr.DataArray:
    zone = gpd.GeoDataFrame({"id": ["river"]}, geometry=[box(405_000, 5_299_900, 406_000, 5_300_100)], crs=CRS)
    closes = closed_by(network.layer, zone).isel(zone=0, drop=True)
    closed = xr.concat([0 * closes, int(flooded) * closes], "scenario").assign_coords(scenario=[0, 1])
    times = network.scenario_travel_time(points("h", "k"), points("3"), closed, closed_h=24)
    # node 4 of the small data has no event: any time will do
    return xr.concat([times, times.assign_coords(node=["4"])], "node")


def test_arrival_times_change(network: RoadNetwork) -> None:
    times = travel_time(network, flooded=True).sel(node="3")
    np.testing.assert_allclose(times.transpose("scenario", "hub"), [[0.2, 0.4], [1.0, 0.4]])


@pytest.mark.parametrize(("flooded", "hub", "cost"), [(False, "h", 2250), (True, "k", 4000)])
def test_the_optimal_hub_changes(network: RoadNetwork, flooded: bool, hub: str, cost: float) -> None:
    given = bridge_data(travel_time(network, flooded=flooded))
    found = solve_and_certify(given, RISK)
    assert found.objective == pytest.approx(cost, rel=1e-6)
    assert given.hub.values[found.first_stage.hub_active.values > 0.5].tolist() == [hub]
    assert Enumeration(given).optimum(RISK).objective == pytest.approx(cost, rel=1e-9)


@pytest.mark.slow
def test_the_wrong_hub_costs_what_is_worked_out(network: RoadNetwork) -> None:
    given = bridge_data(travel_time(network, flooded=True))
    forced = given.assign(hub_forced_out=given.hub_forced_out.copy(data=[0, 1]))
    assert solve_and_certify(forced, RISK).objective == pytest.approx(4125, rel=1e-6)


def test_a_time_that_is_not_finite_is_refused(network: RoadNetwork) -> None:
    times = travel_time(network, flooded=True)
    lost = times.where((times.scenario != 1) | (times.hub != "h"), np.inf)
    with pytest.raises(InputError, match=r"no finite time at hub=h, node=3, scenario=1;.*beyond the horizon of 1 h"):
        demand_shock.program(bridge_data(lost))


def test_the_mean_event_takes_the_usual_time(network: RoadNetwork) -> None:
    """The lower median: the road is open in half of the events. A closed day would be half a day in the mean."""
    given = bridge_data(travel_time(network, flooded=True))
    assert expected_value(given).travel_time.sel(node="3", scenario=0).values == pytest.approx([0.2, 0.4])
    mostly = given.assign(probability=given.probability.copy(data=[0.4, 0.6]))
    assert expected_value(mostly).travel_time.sel(node="3", scenario=0).values == pytest.approx([1.0, 0.4])
