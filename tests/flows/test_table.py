from __future__ import annotations

from rich.console import Console

from flows.table import _race


def test_the_race_marks_the_served_build_and_the_broken_limit() -> None:
    figures = {"megabytes": 90.5, "largest_difference": 0.0123, "agreement": 0.98765, "accuracy": 0.9}
    rows = [
        figures | {"variant": name, "milliseconds": milliseconds, "faults": faults}
        for name, milliseconds, faults in [("fp32", 4.5, []), ("mixed", 1.875, []), ("int8", 1.5, ["agreement", "loss"])]
    ]
    console = Console(width=120, record=True)
    console.print(_race({"race": rows, "variant": "mixed"}))
    found = {line.split()[1]: line for line in console.export_text().splitlines() if "%" in line}
    assert list(found) == ["fp32", "mixed", "int8"]
    assert all("98.77%" in line and "90.5" in line and "0.01" in line for line in found.values())
    assert ["served" in line for line in found.values()] == [False, True, False]
    assert ["fails agreement" in line for line in found.values()] == [False, False, True]
    assert "1.88" in found["mixed"]
