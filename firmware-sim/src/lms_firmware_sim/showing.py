"""A plant's register maps for people and programs: `lms-sim show`."""

from typing import Any

from lms_firmware_sim.plants.description import Plant
from lms_firmware_sim.plants.points import Point
from lms_firmware_sim.plants.text_wires import TextWireDescription
from lms_firmware_sim.plants.wires import BalanceDescription, ModbusRtuDescription, WireDescription


def as_data(plant: Plant) -> dict[str, Any]:
    """The plant as plain data: bioreactors, and wires with every point."""
    return {
        "plant": plant.plant.name,
        "description": plant.plant.description,
        "bioreactors": [
            {
                "id": each.id,
                "name": each.name,
                "strain": each.strain,
                "volume_l": each.vessel.total_l,
                "time_factor": each.time_factor,
            }
            for each in plant.bioreactor
        ],
        "wires": [_wire(wire) for wire in plant.wire],
    }


def _wire(wire: WireDescription) -> dict[str, Any]:
    data: dict[str, Any] = {"id": wire.id, "kind": wire.kind}
    if isinstance(wire, BalanceDescription):
        return data | {
            "baud": wire.baud,
            "bioreactor": wire.bioreactor,
            "tags": [{"tag": "Weight/PV", "unit": wire.unit_shown, "decimals": wire.decimals}],
        }
    if isinstance(wire, TextWireDescription):
        return data | {"baud": wire.baud, "tags": [each._asdict() for each in wire.shown()]}
    if isinstance(wire, ModbusRtuDescription):
        data["baud"] = wire.baud
    units = [
        {
            "unit": unit.unit,
            "name": unit.name,
            "bioreactor": unit.bioreactor,
            "instrument": None if unit.instrument is None else unit.instrument.kind,
            "points": [_point(point) for point in unit.points()],
        }
        for unit in wire.unit
    ]
    return data | {"units": units}


def _point(point: Point) -> dict[str, Any]:
    return {
        "tag": point.tag,
        "register": point.table,
        "address": point.address,
        "kind": point.kind,
        "word_order": point.word_order,
        "byte_order": point.byte_order,
        "scale": point.scale,
        "unit": point.unit,
        "access": "write" if point.writable else "read",
        "fixed": point.fixed,
    }


def as_text(plant: Plant) -> str:
    """The plant as a table, addresses as on the wire (0-based)."""
    lines = [f"{plant.plant.name}: {plant.plant.description}"]
    for wire in plant.wire:
        lines.append("")
        if isinstance(wire, BalanceDescription):
            lines.append(f"wire {wire.id}: {wire.kind}, {wire.baud} baud, bioreactor {wire.bioreactor}")
            lines.append(f"  SI, S    Weight/PV         {wire.unit_shown}")
            continue
        if isinstance(wire, TextWireDescription):
            served = ", ".join(sorted(wire.bioreactors()))
            lines.append(f"wire {wire.id}: {wire.kind}, {wire.baud} baud, bioreactor {served}")
            lines.extend(f"  {said:8s} {tag:28s} {measured}" for said, tag, measured in wire.shown())
            continue
        speed = f", {wire.baud} baud" if isinstance(wire, ModbusRtuDescription) else ""
        lines.append(f"wire {wire.id}: {wire.kind}{speed}")
        for unit in wire.unit:
            lines.append(f"  unit {unit.unit}: {unit.name or 'unnamed'}, bioreactor {unit.bioreactor}")
            if unit.instrument is not None:
                lines.append(f"    registers of {unit.instrument.kind}, as its maker laid them")
            lines.extend(_line(point) for point in unit.points())
    return "\n".join(lines)


def _line(point: Point) -> str:
    what = point.tag or f"constant {point.fixed:g}"
    order = f"{point.word_order} word first" if point.width > 1 else ""
    order = order.replace("big word", "high word").replace("little word", "low word")
    scale = "" if point.scale == 1.0 else f"× {point.scale:g}"
    access = "read, write" if point.writable else "read"
    place = f"    {point.table:8s}{point.address:6d}  {point.kind:8s} {order:16s}"
    return f"{place} {what:20s} {point.unit:6s} {scale:6s} {access}"
