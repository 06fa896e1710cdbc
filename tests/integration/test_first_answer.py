"""`bench/perf/first_answer.py`: repeated exports and its table."""

from dataclasses import replace
from pathlib import Path

from braintumor.bench.metrics.process import ProcessRun
from braintumor.bench.perf.first_answer import Exports, FirstAnswer, cold_exports, first_answer_lines

RUN = ProcessRun(wall_s=12.0, cpu_s=20.0, peak_rss_mb=900.0, returncode=0, stdout="")


def test_cold_exports_write_equal_bundles_under_other_hash_seeds(light: Path, shipped_model: Path) -> None:
    steps: list[str] = []
    exports = cold_exports(light.parent, "fp16", 2, steps.append, [shipped_model])
    assert len(steps) == len(exports.succeeded) == len(exports.bundles) == exports.equal == 2
    assert all(run.cpu_s > 0.5 and run.peak_rss_mb > 100 for run in exports.runs)


def test_cold_exports_count_failures(light: Path, shipped_model: Path, tmp_path: Path) -> None:
    without_plan = tmp_path / "own.keras"
    without_plan.write_bytes(shipped_model.read_bytes())
    exports = cold_exports(light.parent, "int8", 1, lambda _: None, [without_plan])
    assert (len(exports.runs), exports.succeeded, exports.bundles, exports.equal) == (1, (), (), 0)


def test_first_answer_lines_have_medians_of_successes_and_counts_of_all() -> None:
    runs = (RUN, replace(RUN, wall_s=14.0), replace(RUN, wall_s=99.0, returncode=1))
    result = FirstAnswer((Exports("fp16", runs, ("a", "b")),), None, RUN, None)
    header, export, install, answer, demo, counts = first_answer_lines(result)
    assert header.split() == ["wall", "s", "CPU", "s", "peak", "MB"]
    assert export.split()[-3:] == ["13.0", "20.0", "900"]
    assert install.split()[-3:] == demo.split()[-3:] == ["-", "-", "-"]
    assert answer.split()[-3:] == ["12.0", "20.0", "900"]
    assert counts == "fp16: 2 of 3 exports succeeded, 1 of 3 wrote the same bundle"
