"""The process model: its balances, its loops, its limits."""

import json
import math

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from lms_firmware_sim.errors import SetPointRefused, StateError
from lms_firmware_sim.process.bioreactor import TAGS, Cultivation, SimulatedBioreactor
from lms_firmware_sim.process.controller import SetPoints, set_point_limits
from lms_firmware_sim.process.strains import E_COLI, K_PHAFFII
from lms_firmware_sim.process.vessels import Recipe, Vessel

HOUR_S = 3600.0


def carbon(reactor: SimulatedBioreactor) -> float:
    """All carbon in vessel and headspace, in mol."""
    state = reactor.process.state
    return state.biomass_cmol + state.substrate_cmol + state.inorganic_mol + state.gas_co2_mol


def test_carbon_balance_closes(bioreactor):
    reactor = bioreactor()
    reactor.advance_to(0.0 + 2.0)
    begin, before = carbon(reactor), reactor.process.state.to_json()
    reactor.advance_to(20 * HOUR_S)
    after = reactor.process.state
    brought = after.carbon_fed_cmol - before["carbon_fed_cmol"] + after.co2_in_mol - before["co2_in_mol"]
    taken = after.carbon_sampled_cmol + after.co2_out_mol - before["co2_out_mol"]
    assert after.co2_out_mol > 1.0
    assert after.carbon_fed_cmol > 1.0
    assert carbon(reactor) == pytest.approx(begin + brought - taken, rel=1e-9)


def test_oxygen_balance_closes(bioreactor):
    reactor = bioreactor()
    before = reactor.process.state
    begin = before.oxygen_mol + before.gas_o2_mol
    reactor.advance_to(20 * HOUR_S)
    state = reactor.process.state
    kept = state.oxygen_mol + state.gas_o2_mol
    assert state.o2_used_mol > 1.0
    assert kept == pytest.approx(
        begin + state.o2_in_mol - state.o2_out_mol - state.o2_used_mol - state.oxygen_sampled_mol, abs=1e-8
    )


def test_off_gas_shows_what_the_broth_respires(bioreactor):
    """The gas balance over inlet and exhaust gives the respiration of the broth at steady state."""
    reactor = bioreactor()
    reactor.advance_to(14 * HOUR_S)
    truth = reactor.truth()
    air, exhaust = truth["air_l_min"] / 22.414 * 60.0, truth["exhaust_l_min"] / 22.414 * 60.0
    taken = air * 0.2095 - exhaust * truth["off_gas_o2_percent"] / 100.0
    assert taken / truth["volume_l"] * 1000.0 == pytest.approx(truth["oxygen_transfer_mmol_l_h"], rel=0.02)


def test_weight_is_what_was_brought_less_what_was_taken(bioreactor):
    reactor = bioreactor(recipe={"sample_ml": 0.0})
    begin = reactor.process.state.mass_kg
    reactor.advance_to(16 * HOUR_S)
    state = reactor.process.state
    gas_kg = 0.032 * state.o2_used_mol - 0.044 * state.co2_made_mol
    pumped_kg = state.feed_ml * 1.18e-3 + state.base_ml * 1.10e-3
    assert state.mass_kg - begin == pytest.approx(pumped_kg + gas_kg, abs=0.005)


def test_growth_never_exceeds_its_largest_rate(bioreactor):
    reactor = bioreactor()
    rates = []
    for quarter in range(1, 80):
        reactor.advance_to(quarter * 900.0)
        rates.append(reactor.truth()["growth_rate_per_h"])
    assert 0.4 < max(rates) <= E_COLI.mu_max_per_h


def test_batch_grows_exponentially_then_starves_into_the_feed(bioreactor):
    reactor = bioreactor()
    reactor.advance_to(2 * HOUR_S)
    early = reactor.truth()
    reactor.advance_to(4 * HOUR_S)
    later = reactor.truth()
    assert math.log(later["biomass_g_l"] / early["biomass_g_l"]) / 2.0 == pytest.approx(0.52, abs=0.03)
    assert later["feed_ml"] == 0.0
    reactor.advance_to(12 * HOUR_S)
    fed = reactor.truth()
    assert fed["feed_ml"] > 10.0
    assert fed["growth_rate_per_h"] == pytest.approx(0.15, abs=0.01)


@pytest.mark.parametrize(
    ("tag", "value", "measured", "tolerance"),
    [
        ("Temperature/SP", 33.0, "Temperature/PV", 0.1),
        ("pH/SP", 7.2, "pH/PV", 0.05),
        ("DO/SP", 50.0, "DO/PV", 2.0),
        ("AirFlow/SP", 8.0, "AirFlow/PV", 0.05),
    ],
)
def test_loop_reaches_its_set_point(bioreactor, tag, value, measured, tolerance):
    reactor = bioreactor()
    reactor.advance_to(7 * HOUR_S)
    reactor.write(tag, value)
    reactor.advance(HOUR_S)
    assert reactor.reading(measured) == pytest.approx(value, abs=tolerance)
    assert reactor.reading(tag) == value


def test_temperature_loop_does_not_overshoot_much_from_room_temperature(bioreactor):
    reactor = bioreactor()
    reactor.advance_to(-HOUR_S)
    highest = 0.0
    for _ in range(360):
        reactor.advance(10.0)
        highest = max(highest, reactor.reading("Temperature/PV"))
    assert highest < 38.5
    assert reactor.reading("Temperature/PV") == pytest.approx(37.0, abs=0.2)


def test_base_is_counted_and_raises_the_weight(bioreactor):
    reactor = bioreactor()
    reactor.advance_to(3 * HOUR_S)
    before = reactor.reading("BasePumped/PV")
    reactor.advance_to(6 * HOUR_S)
    assert reactor.reading("BasePumped/PV") > before + 5.0


def test_pressure_and_cold_raise_dissolved_oxygen(bioreactor):
    from lms_firmware_sim.process import gas

    assert gas.oxygen_solubility(20.0) > gas.oxygen_solubility(37.0)
    reactor = bioreactor()
    reactor.advance_to(-60.0)
    # Sterile broth at 0.2 bar overpressure holds more oxygen than the calibration at 1.013 bar.
    assert reactor.reading("DO/PV") == pytest.approx(123.0, abs=2.0)


def test_set_point_beyond_its_limits_is_refused(bioreactor):
    reactor = bioreactor()
    for value in (1.0, 13.0, math.nan, math.inf):
        with pytest.raises(SetPointRefused) as refused:
            reactor.write("pH/SP", value)
        assert (refused.value.low, refused.value.high) == (2.0, 12.0)
    assert reactor.reading("pH/SP") == 7.0


def test_same_seed_gives_same_readings_however_time_is_divided(bioreactor):
    once, often, other = bioreactor(), bioreactor(), bioreactor(seed=2)
    once.advance_to(2 * HOUR_S)
    other.advance_to(2 * HOUR_S)
    for minute in range(121):
        often.advance_to(minute * 60.0 + 0.3)
    often.advance_to(2 * HOUR_S)
    readings = [once.reading(tag) for tag in TAGS]
    assert readings == [often.reading(tag) for tag in TAGS]
    assert readings != [other.reading(tag) for tag in TAGS]


def test_time_never_goes_back(bioreactor):
    reactor = bioreactor()
    reactor.advance_to(HOUR_S)
    step = reactor.step
    reactor.advance_to(HOUR_S / 2)
    assert reactor.step == step


def test_time_factor_makes_the_process_faster(bioreactor):
    fast, slow = bioreactor(time_factor=10.0), bioreactor()
    fast.advance_to(360.0)
    slow.advance_to(HOUR_S)
    assert fast.truth() == slow.truth()


def test_next_run_begins_after_harvest_and_unseen_runs_are_skipped(bioreactor):
    reactor = bioreactor(recipe={"run_h": 2.0, "preparation_h": 0.5})
    reactor.advance_to(1.9 * HOUR_S)
    assert (reactor.run, reactor.truth()["age_h"]) == (0, pytest.approx(1.9, abs=0.01))
    reactor.advance_to(2.2 * HOUR_S)
    assert (reactor.run, reactor.truth()["biomass_g_l"]) == (1, 0.0)
    reactor.advance_to(1000 * 2.5 * HOUR_S + 1.0)
    assert reactor.run == 1000


def test_restored_state_goes_on_exactly(bioreactor):
    straight, stopped = bioreactor(), bioreactor()
    for reactor in (straight, stopped):
        reactor.advance_to(3 * HOUR_S)
        reactor.write("Temperature/SP", 35.0)
    saved = json.loads(json.dumps(stopped.to_json()))
    restored = bioreactor()
    restored.restore(saved)
    for reactor in (straight, restored):
        reactor.advance_to(5 * HOUR_S)
    assert restored.to_json() == straight.to_json()
    assert [restored.reading(tag) for tag in TAGS] == [straight.reading(tag) for tag in TAGS]


@pytest.mark.parametrize(
    "damage",
    [
        lambda saved: saved.pop("state"),
        lambda saved: saved["state"].pop("ph"),
        lambda saved: saved["state"].update(ph="seven"),
        lambda saved: saved.update(run=-1),
        lambda saved: saved["controller"]["written"].update({"pH/SP": 99.0}),
        lambda saved: saved["controller"].update(loops=[]),
        lambda saved: saved.update(cultivation="another"),
        lambda saved: saved.update(lagged={}),
    ],
)
def test_damaged_state_is_refused_and_changes_nothing(bioreactor, damage):
    reactor = bioreactor()
    reactor.advance_to(60.0)
    before = reactor.to_json()
    saved = json.loads(json.dumps(before))
    damage(saved)
    with pytest.raises(StateError):
        reactor.restore(saved)
    assert reactor.to_json() == before


VESSEL = Vessel(3.0, 1500.0, 5.0)
LIMITS = set_point_limits(VESSEL)


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    strain=st.sampled_from([E_COLI, K_PHAFFII]),
    cascade=st.sampled_from(["agitation", "aeration", "none"]),
    batch_g_l=st.floats(0.0, 100.0),
    writes=st.lists(
        st.sampled_from(sorted(LIMITS)).flatmap(lambda tag: st.tuples(st.just(tag), st.floats(*LIMITS[tag]))),
        min_size=1,
        max_size=6,
    ),
)
def test_no_set_point_makes_a_value_negative_or_no_number(strain, cascade, batch_g_l, writes):
    reactor = SimulatedBioreactor(
        Cultivation(
            strain=strain,
            vessel=VESSEL,
            recipe=Recipe(start_l=1.5, inoculum_g_l=5.0, batch_g_l=batch_g_l, preparation_h=0.1, feed_max_ml_min=5.0),
            set_points=SetPoints(6.0, 30.0, 30.0, 300.0, 1.5),
            cascade=cascade,
            seed=3,
            inoculated_at_s=0.0,
        )
    )
    for position, (tag, value) in enumerate(writes, start=1):
        reactor.write(tag, value)
        reactor.advance_to(position * 300.0)
        signed = {"growth_rate_per_h", "oxygen_transfer_mmol_l_h", "carbon_release_mmol_l_h", "age_h"}
        for name, number in reactor.truth().items():
            assert math.isfinite(number), name
            assert number >= 0.0 or name in signed, (name, number)
        assert reactor.truth()["growth_rate_per_h"] <= strain.mu_max_per_h
        for name in TAGS:
            assert math.isfinite(reactor.reading(name))
        assert 1.0 <= reactor.reading("pH/PV") <= 13.0
        assert -100.0 <= reactor.reading("Temperature/OUT") <= 100.0
