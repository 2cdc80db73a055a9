"""Every figure of the report against an answer worked out another way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from drofcm.report import figures, grids, statements, tables
from drofcm.report.dispatch import balance
from drofcm.report.inputs import DO_NOTHING, EXPECTED_VALUE_PLAN, ReportInput
from drofcm.report.stable import dark, share_stable


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.8, 0.9])
def test_cvar_is_the_minimum_of_rockafellar_and_uryasev(seed: int, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    cost, probability = rng.normal(100, 40, 12), rng.dirichlet(np.ones(12))
    at_each = [z + probability @ np.maximum(cost - z, 0) / (1 - alpha) for z in cost]
    var, cvar = tables.value_at_risk(cost, probability, alpha)
    assert cvar == pytest.approx(min(at_each))
    assert probability[cost <= var].sum() >= alpha - 1e-9
    assert probability[cost < var].sum() < alpha or alpha == 0


def test_var_with_the_confidence_level_at_a_step_of_the_distribution() -> None:
    var, cvar = tables.value_at_risk(np.arange(10.0), np.full(10, 0.1), 0.9)
    assert var == 8
    assert cvar == pytest.approx(9)


def test_headline_repeats_the_results(report_input: ReportInput) -> None:
    headline = tables.headline(report_input)
    for name, result in report_input.plans.items():
        column, weights = headline[name], result.probability.values
        assert column["risk_weighted_objective"] == result.objective
        spent = sum(float(result.terms[name]) for name in ("cost_hub_setup", "cost_transport", "cost_modules"))
        assert column["first_stage_cost"] == pytest.approx(spent)
        assert column["events_cost"] == pytest.approx(weights @ result.recourse_cost.values)
        assert column["expected_cost"] == pytest.approx(spent + column["events_cost"])
        assert column["event_mean"] == pytest.approx(column["events_cost"] / 60)
        _, tail = tables.value_at_risk(result.recourse_cost.values / 60, weights, report_input.alpha)
        assert column["event_tail"] == pytest.approx(tail)
        missed = result.recourse["unserved_critical"] + result.recourse["unserved_flexible"]
        energy = np.einsum("snt,t,s->", missed.values, report_input.data["step_length"].values, weights)
        assert column["unserved"] == pytest.approx(energy)
    assert headline["this plan"]["modules"] == 18
    assert headline["this plan"]["hubs"] == 2
    assert headline[DO_NOTHING]["first_stage_cost"] == 0


def test_a_bad_year_is_worse_than_the_mean_and_better_than_a_year_of_bad_events(report_input: ReportInput) -> None:
    for own in tables.headline(report_input).to_dict().values():
        assert own["expected_cost"] < own["year_tail"] < own["first_stage_cost"] + 60 * own["event_tail"]
        assert 0 < own["year_tail_error"] < 0.01 * own["year_tail"]


def test_share_stabilised_counts_only_nodes_that_the_event_touches(report_input: ReportInput) -> None:
    stable = report_input.plan.recourse["stabilised"].values
    by_hand = [np.mean([value for value in line if not np.isnan(value)]) for line in stable]
    assert share_stable(report_input.data, report_input.plan).values == pytest.approx(by_hand)
    mean = np.dot(by_hand, report_input.plan.probability.values)
    assert tables.headline(report_input)["this plan"]["stabilised"] == pytest.approx(mean)


def cut_off(inputs: ReportInput, band: float) -> ReportInput:
    """Node 18 lies dark throughout scenario 4 with its whole load of 0.12 MW unserved, and counts as stable."""
    at = {"scenario": 4, "node": "18"}
    recourse = inputs.plan.recourse.copy(deep=True)
    for name in ("discharge", "generation", "demand_response", "supply_follow", "unserved_critical"):
        recourse[name].loc[at] = recourse[name].loc[at] * 0
    recourse["unserved_flexible"].loc[at] = 0.12
    recourse["stabilised"].loc[at] = 1.0
    data = inputs.data.assign(stability_band=xr.full_like(inputs.data["stability_band"], band))
    settled = inputs.quantities["stabilisation_time"].copy(deep=True)
    settled.loc[at] = 0.0
    quantities = inputs.quantities.assign(stabilisation_time=settled)
    return replace(inputs, data=data, plan=replace(inputs.plan, recourse=recourse), quantities=quantities)


def test_a_node_that_is_dark_within_its_band_is_not_stable(report_input: ReportInput) -> None:
    inputs = cut_off(report_input, band=0.2)
    found = dark(inputs.data, inputs.plan)
    assert [tuple(map(str, where)) for where in found.to_series()[found.to_series()].index] == [("4", "18")]
    table = tables.nodes(inputs)
    # node 18 is touched by scenarios 2, 4 and 5, of 20, 15 and 5 %
    assert table["dark"].to_dict() == pytest.approx({"5": 0, "9": 0, "15": 0, "18": 0.15 / 0.4})
    served = inputs.plan.recourse["stabilised"].sel(node="18", scenario=[2, 5]).values @ [0.2, 0.05]
    assert table["stabilised"]["18"] == pytest.approx(served / 0.4)
    assert table["settled_worst"]["18"] == np.inf
    assert "node 18 is dark in some, within the band" in statements.nodes(table)
    assert "Dark within the band" in grids.nodes(table).head
    keys = [row.key for row in grids.headline(tables.headline(inputs), inputs.alpha)]
    assert "dark" in keys


def test_a_node_whose_load_is_served_is_not_dark(report_input: ReportInput) -> None:
    inputs = cut_off(report_input, band=0.2)
    recourse = inputs.plan.recourse.copy(deep=True)
    recourse["unserved_flexible"].loc[{"scenario": 4, "node": "18"}] = 0.0119
    assert not dark(inputs.data, replace(inputs.plan, recourse=recourse)).any()
    # neither is one that has its feeder and sheds within the band
    assert not dark(inputs.data.assign(energised=xr.ones_like(inputs.data["energised"])), inputs.plan).any()
    assert "Dark within the band" not in grids.nodes(tables.nodes(report_input)).head
    assert "dark" not in [row.key for row in grids.headline(tables.headline(report_input), 0.8)]


def test_never_is_no_point_on_the_axis(report_input: ReportInput) -> None:
    table = tables.nodes(report_input)
    assert np.isinf(table["settled_worst"]).any()
    plot = figures.settling(table, float(report_input.data["step_length"].sum()))
    for name in ("median", "worst"):
        of_name = [own for own in plot.renderers if getattr(own.glyph, "y", "") in (f"{name}_at", f"{name}_never")]
        value = table[f"settled_{name}"].to_numpy()
        for drawn in of_name:
            place = np.asarray(drawn.data_source.data[drawn.glyph.y], dtype=float)
            if drawn.glyph.y.endswith("_never"):
                assert drawn.glyph.marker != "circle"
                alone = np.isinf(value) & ~(np.isinf(table["settled_median"]) if name == "worst" else False)
                assert (np.isfinite(place) == alone).all()
                # at the edge, beyond everything that has a time
                assert np.nanmin(place) > np.max(value, where=np.isfinite(value), initial=0)
                assert np.nanmin(place) < plot.y_range.end
            else:
                assert drawn.glyph.marker == "circle"
                np.testing.assert_array_equal(place, np.where(np.isinf(value), np.nan, value))
    labels = [item.label.value for item in plot.legend[0].items]
    assert {"never in the worst", "nor in the median"} & set(labels)
    assert "never" in plot.yaxis[0].major_label_overrides.values()


def test_cost_terms_sum_to_the_expected_costs(report_input: ReportInput) -> None:
    terms = tables.cost_terms(report_input)
    for name, result in report_input.plans.items():
        assert terms[name].sum() == pytest.approx(result.mean)
    assert terms["this plan"]["cost_hub_setup"] == 56_000


def test_gap_of_benefit_is_relative_to_what_can_be_gained(report_input: ReportInput) -> None:
    plan, nothing = report_input.plan, report_input.baselines[DO_NOTHING]
    gap = tables.gap_of_benefit(report_input)
    assert gap == pytest.approx((plan.upper_bound - plan.lower_bound) / (nothing.objective - plan.lower_bound))
    assert gap > plan.gap


def test_tail_holds_the_dearest_fifth(report_input: ReportInput) -> None:
    # dearest first: scenario 5 with 5 %, scenario 0 with 25 % of which 15 % fit into the tail; both are surges
    cost = report_input.plan.recourse_cost
    assert list(np.argsort(-cost.values)[:2]) == [5, 0]
    assert tables.tail_by_class(report_input).to_dict() == pytest.approx({"surge": 1.0})


def test_shipments_list_what_is_shipped(report_input: ReportInput) -> None:
    table = tables.shipments(report_input).set_index(["supplier", "hub", "fcm"])
    assert len(table) == 5
    line = table.loc[("fredericksburg", "ashburn", "long_duration")]
    assert line["modules"] == 2
    assert line["distance"] == 104
    assert line["cost_transport"] == pytest.approx(8 * 104 * 2 / 20)
    assert line["cost_modules"] == 110_000
    terms = report_input.plan.terms
    assert table["cost_transport"].sum() == pytest.approx(float(terms["cost_transport"]))
    assert table["cost_modules"].sum() == pytest.approx(float(terms["cost_modules"]))


def test_price_of_room_is_shown_where_slots_are_taken(report_input: ReportInput) -> None:
    assert "slot_worth" not in tables.hub_use(report_input)
    hubs = report_input.data.indexes["hub"]
    price = xr.DataArray(-1000.0 * np.arange(len(hubs)), coords=[hubs])
    plan = replace(report_input.plan, prices=xr.Dataset({"hub_room": price}))
    # Leesburg holds 3.5 slots, Ashburn 6.2, Sterling is closed
    room = report_input.data["storage_limit"].copy(data=[8.0, 3.5, 0.0])
    priced = replace(report_input, plan=plan, data=report_input.data.assign(storage_limit=room))
    worth = tables.hub_use(priced)["slot_worth"]
    assert worth["leesburg"] == 1000.0
    assert worth[["ashburn", "sterling"]].isna().all()
    grid = grids.hubs(priced)
    assert grid.head[-1] == "One more slot is worth, k$/a"
    assert {row[0]: row[-1] for row in grid.rows} == {"Leesburg": "1.0", "Ashburn": "–", "Sterling": "–"}


def test_hub_use_counts_slots(report_input: ReportInput) -> None:
    table = tables.hub_use(report_input)
    assert table["used"].to_dict() == pytest.approx(
        {"ashburn": 1 + 12 * 0.1 + 2 * 2, "leesburg": 2 + 1.5, "sterling": 0}
    )
    assert table["active"].to_dict() == {"ashburn": True, "leesburg": True, "sterling": False}
    assert table["available"]["ashburn"] == pytest.approx(0.95)


def test_nodes_keep_the_worst_and_the_median_time(report_input: ReportInput) -> None:
    table = tables.nodes(report_input)
    settled = report_input.quantities["stabilisation_time"]
    for node in table.index:
        times = np.sort(settled.sel(node=node).dropna("scenario").values)
        assert table["settled_worst"][node] == times[-1]
        assert table["settled_median"][node] == times[(len(times) - 1) // 2]
    assert table["touched"]["5"] == pytest.approx(0.25 + 0.2 + 0.05)
    total = tables.headline(report_input)
    assert table["unserved"].sum() == pytest.approx(total["this plan"]["unserved"])
    assert table["unserved_do_nothing"].sum() == pytest.approx(total[DO_NOTHING]["unserved"])


@pytest.mark.parametrize("name", ["this plan", EXPECTED_VALUE_PLAN, DO_NOTHING])
def test_dispatch_stacks_to_the_imbalance(report_input: ReportInput, name: str) -> None:
    series, imbalance = balance(report_input.data, report_input.plans[name].recourse)
    stacked = sum((1 if one.up else -1) * one.values for one in series)
    np.testing.assert_allclose(stacked, imbalance, atol=1e-9)
    assert all(float(one.values.min()) >= 0 for one in series)


def test_network_state_equals_a_walk_along_the_feeder(report_input: ReportInput) -> None:
    """LinDistFlow by hand: sum what is withdrawn below each line, then drop the voltage from the source."""
    data, recourse = report_input.data, report_input.plan.recourse
    lines = [tuple(label.split("-")) for label in data["line"].values]
    ohm = 0.4 / 12.66**2
    low, high = np.sqrt(data["v_base"].values ** 2), np.sqrt(data["v_base"].values ** 2)
    peak = np.zeros(len(lines))
    for s in range(data.sizes["scenario"]):
        for t in range(data.sizes["time"]):
            below_p, below_q = _withdrawal(data, recourse, s, t)
            squared = {"1": 1.03**2}
            for start, end in reversed(lines):
                below_p[start] += below_p[end]
                below_q[start] += below_q[end]
            for k, (start, end) in enumerate(lines):
                squared[end] = squared[start] - 2 * ohm * (below_p[end] + below_q[end])
                peak[k] = max(peak[k], np.hypot(below_p[end], below_q[end]) / 4.0)
            for b, bus in enumerate(data["bus"].values):
                if data["energised"].values[s, b]:
                    low[b], high[b] = min(low[b], squared[bus] ** 0.5), max(high[b], squared[bus] ** 0.5)
    state = tables.network_state(data, recourse)
    np.testing.assert_allclose(state["voltage_low"], low, rtol=1e-9)
    np.testing.assert_allclose(state["voltage_high"], high, rtol=1e-9)
    base = np.hypot(data["flow_base"], data["flow_base_reactive"]) / 4.0
    np.testing.assert_allclose(state["loading"], np.maximum(peak, base), rtol=1e-9)
    assert (state["voltage_low"] < data["v_base"] - 1e-3).any()
    assert (state["voltage_high"] > data["v_base"] + 1e-3).any()


def _withdrawal(data, recourse, s: int, t: int) -> tuple[dict[str, float], dict[str, float]]:  # type: ignore[no-untyped-def]
    active = dict(zip(data["bus"].values, data["base_load"].values, strict=True))
    reactive = dict(zip(data["bus"].values, data["base_reactive"].values, strict=True))
    for i, node in enumerate(data["node"].values):
        if not data["energised"].sel(bus=node).values[s]:
            active[node] = reactive[node] = 0.0
            continue
        change = recourse["supply_follow"].values[s, i, t] - recourse["unabsorbed"].values[s, i, t]
        fleet = sum(
            sign * np.nansum(recourse[name].values[s, i, :, t])
            for name, sign in {"discharge": 1, "charge": -1, "generation": 1}.items()
        )
        active[node] += change
        reactive[node] += 0.25 * (change + fleet)
    return active, reactive
