"""bt-doctor tells the truth about whole, broken, crashing and hanging installations, and survives them all."""

import configparser
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from braintumor.libraries import LIBRARIES
from braintumor.runtime.doctor.diagnosis import decisive, engine_finding
from braintumor.runtime.doctor.isolate import Outcome, probe
from braintumor.runtime.doctor.libraries import ENGINE_LIBRARIES, LibraryFinding, installed, library_finding
from braintumor.runtime.doctor.worker import PROBE_MODEL
from braintumor.runtime.engines.registry import ENGINES
from braintumor.system.summary import Nvidia, NvidiaGpu, read_nvidia
from tests.support.paths import ROOT

RUN = ("-P", "-c", "from braintumor.runtime.doctor.cli import main; main()")
LIMIT_S = 120.0
posix = pytest.mark.skipif(sys.platform == "win32", reason="shell scripts and links")

A4000 = Nvidia((NvidiaGpu("NVIDIA RTX A4000", "580.65.06", 17171.0, "8.6"),), "13.0")
H200 = Nvidia((NvidiaGpu("NVIDIA H200", "580.65.06", 150754.0, "9.0"),), "13.0")
OLD_DRIVER = Nvidia((NvidiaGpu("NVIDIA RTX A4000", "535.183.01", 17171.0, "8.6"),), "12.2")
LOADED = Outcome(ok=True, facts={"version": None, "whole": True})

BROKEN_TENSORRT = 'raise ImportError("libnvinfer.so.11: cannot open shared object file: No such file or directory")'
ABORTS = "import os\nprint('noise on standard output', flush=True)\nos.abort()"
HANGS = "import time\ntime.sleep(600)"


def doctor(*arguments: str, python: str = sys.executable, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *RUN, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        env=os.environ | environment,
        check=False,
    )


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a package of that source before what is installed, for this process's children."""
    folder = tmp_path / "planted"
    monkeypatch.setenv("PYTHONPATH", str(folder))

    def make(package: str, source: str) -> Path:
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(source, encoding="utf-8")
        return folder

    return make


def plant_distribution(folder: Path, name: str, version: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")


def test_probe_model_is_what_its_docstring_says() -> None:
    weights = np.arange(32, dtype=np.float32).reshape(8, 4) / 1024
    nodes = [
        helper.make_node("Cast", ["image"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["grey", "axis"], ["rows"], keepdims=0),
        helper.make_node("MatMul", ["rows", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(np.array([2], np.int64), "axis"), numpy_helper.from_array(weights, "weights")],
    )
    expected = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    assert onnx.load_from_string(PROBE_MODEL) == expected


@pytest.mark.parametrize("engine", ["onnxruntime-cpu", "openvino-cpu"])
def test_engine_finding_is_usable_with_what_it_runs_on(engine: str) -> None:
    pytest.importorskip(engine.removesuffix("-cpu"))
    outcome = probe("engine", engine, limit_s=LIMIT_S)
    assert outcome.ok, outcome
    finding = engine_finding(engine, outcome, None, Nvidia())
    assert finding.usable
    assert finding.runs_on["device"] == "cpu"
    assert finding.runs_on["version"].startswith(engine.removesuffix("-cpu"))


def test_probe_fails_for_a_library_with_wrong_answers(plant: Callable[[str, str], Path]) -> None:
    # A whole onnxruntime, but for its answers.
    plant(
        "wrong",
        "from braintumor.runtime.engines.onnxruntime import OnnxRuntimeCpuEngine as Real\n"
        "class Wrong(Real):\n    def infer(self, images): return super().infer(images)[:, ::-1]\n",
    )
    plant(
        "sitecustomize",
        "import braintumor.runtime.engines.registry as r\n"
        "r.ENGINES = {'onnxruntime-cpu': r.EngineEntry('wrong:Wrong', 'cpu', 'onnxruntime')}\n",
    )
    outcome = probe("engine", "onnxruntime-cpu", limit_s=LIMIT_S)
    assert (outcome.ok, outcome.error) == (False, "ArithmeticError")
    assert re.search(r"its answer is off by 0\.\d+", outcome.reason)


def test_probe_leaves_nothing_in_the_cache(own_cache_of_the_test: Path) -> None:
    assert probe("engine", "onnxruntime-cpu", limit_s=LIMIT_S).ok
    assert not own_cache_of_the_test.exists()


@posix
def test_probe_survives_an_abort_and_a_hang(plant: Callable[[str, str], Path]) -> None:
    plant("aborting", ABORTS)
    plant("hanging", HANGS)
    aborted = probe("library", "aborting", "x", limit_s=LIMIT_S)
    hung = probe("library", "hanging", "x", limit_s=2)
    assert (aborted.error, aborted.reason) == ("crash", "its process died of SIGABRT without an answer")
    assert "noise" in aborted.log
    assert (hung.error, hung.reason) == ("hang", "it gave no answer within 2 s")


def test_probe_survives_a_library_that_exits(plant: Callable[[str, str], Path]) -> None:
    plant("ending", "import sys\nsys.exit(7)")
    assert "exit code 7" in probe("library", "ending", "x", limit_s=LIMIT_S).reason


@posix
def test_doctor_gives_reason_and_remedy_for_every_broken_library(plant: Callable[[str, str], Path]) -> None:
    """Two onnxruntime packages of which a ruin is left, TensorRT without libraries, an abort, and a hang."""
    folder = plant("onnxruntime", "")
    plant_distribution(folder, "onnxruntime", "1.32.0")
    plant_distribution(folder, "onnxruntime-gpu", "1.31.0")
    plant("tensorrt", BROKEN_TENSORRT)
    plant("openvino", ABORTS)
    plant("tensorrt_rtx", HANGS)
    done = doctor("--json", "--limit", "15")
    assert done.returncode == 5, done.stderr
    assert done.stderr.startswith("Error: no engine is usable")
    report = json.loads(done.stdout)
    assert (report["schema"], report["usable"]) == ("braintumor.doctor/1", False)
    libraries = {library["name"]: library for library in report["libraries"]}
    assert not any(libraries[name]["loads"] for name in ("onnxruntime", "openvino", "tensorrt", "tensorrt-rtx"))
    assert "onnxruntime and onnxruntime-gpu are all installed" in libraries["onnxruntime"]["reason"]
    assert libraries["onnxruntime"]["remedy"].startswith(
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install"
    )
    assert "without the library libnvinfer.so.11" in libraries["tensorrt"]["reason"]
    assert "SIGABRT" in libraries["openvino"]["reason"]
    assert "no answer within 15 s" in libraries["tensorrt-rtx"]["reason"]
    assert [engine["name"] for engine in report["engines"]] == list(ENGINES)
    assert all(engine["reason"] and engine["remedy"] and not engine["usable"] for engine in report["engines"])


def test_library_finding_names_the_missing_class(plant: Callable[[str, str], Path]) -> None:
    plant("onnxruntime", "")
    outcome = probe("library", "onnxruntime", "InferenceSession", limit_s=LIMIT_S)
    finding = library_finding("onnxruntime", {"onnxruntime": "1.32.0"}, outcome, Nvidia())
    assert not finding.loads
    assert finding.reason == "the installation is broken: onnxruntime has no InferenceSession"
    assert finding.remedy == "pip uninstall -y onnxruntime && pip install 'braintumor[cpu]'"


def test_doctor_tables_and_json_agree() -> None:
    as_json, as_tables = doctor("--json"), doctor()
    report = json.loads(as_json.stdout)
    usable = [engine["name"] for engine in report["engines"] if engine["usable"]]
    assert "onnxruntime-cpu" in usable
    assert (as_json.returncode, as_tables.returncode, as_tables.stderr) == (0, 0, "")
    assert as_tables.stdout.splitlines()[-1] == f"Usable here: {', '.join(usable)}"
    assert report["machine"]["usable_cores"] >= 1


@posix
def test_the_light_dependencies_are_enough(tmp_path: Path) -> None:
    """A fresh environment that has what the package itself requires, and no engine."""
    venv.create(tmp_path / "light", symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = tmp_path / "light" / "lib" / version / "site-packages"
    here = Path(sysconfig.get_path("purelib"))
    for name in ("click", "numpy", "numpy.libs", "PIL", "pillow.libs", "rich", "pygments", "markdown_it", "mdurl"):
        if (here / name).exists():
            (packages / name).symlink_to(here / name)
    (packages / "braintumor").mkdir()
    for source in [*(ROOT / "braintumor").iterdir(), ROOT / "models", ROOT / "runtime"]:
        (packages / "braintumor" / source.name).symlink_to(source)
    done = doctor("--json", python=str(tmp_path / "light" / "bin" / "python"))
    assert done.returncode == 5, done.stderr
    report = json.loads(done.stdout)
    assert {library["reason"] for library in report["libraries"]} == {"it is not installed"}
    remedies = {engine["name"]: engine["remedy"] for engine in report["engines"]}
    assert remedies["onnxruntime-cpu"] == "pip install 'braintumor[cpu]'"
    assert remedies["openvino-cpu"] == "pip install 'braintumor[openvino]'"


def test_probe_finds_the_bundle_or_its_damage(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINTUMOR_BUNDLE", str(copied))
    whole = probe("bundle", limit_s=LIMIT_S)
    assert (whole.facts["members"], whole.facts["precision"]) == (["a"], "fp32")
    (copied / "bundle.json").write_text("{", encoding="utf-8")
    assert probe("bundle", limit_s=LIMIT_S).error == "IntegrityError"


@pytest.mark.parametrize(
    ("name", "present", "cards", "reason", "remedy"),
    [
        ("tensorrt-rtx", {"tensorrt-rtx-cu13": "1.7.1"}, H200, "this machine has 9.0", "onnxruntime-cuda"),
        ("tensorrt-rtx", {"tensorrt-rtx-cu13": "1.7.1"}, OLD_DRIVER, "535.183.01 is too old", "driver 580 or newer"),
        ("tensorrt", {"tensorrt-cu13": "10.3.0"}, A4000, "10.3.0 is too old; must be 10.12", "install --upgrade"),
        ("tensorrt-rtx", {"tensorrt-rtx-cu13": "1.7.1"}, A4000, "", ""),
        ("tensorrt", {"tensorrt-cu12": "10.13.0"}, OLD_DRIVER, "", ""),
    ],
)
def test_library_finding_compares_a_library_with_the_gpu(
    name: str, present: Mapping[str, str], cards: Nvidia, reason: str, remedy: str
) -> None:
    finding = library_finding(name, present, LOADED, cards)
    assert finding.loads
    assert reason in finding.reason
    assert remedy in finding.remedy
    assert bool(finding.reason) == bool(finding.remedy) == bool(reason)


@pytest.mark.parametrize(
    ("log", "cards", "reason", "remedy"),
    [
        (
            "Failed to load library: libcudnn.so.9: cannot open",
            A4000,
            "libcudnn.so.9 does not load",
            "braintumor[gpu]",
        ),
        ("libcublasLt.so.12: cannot open shared object", A4000, "libcublasLt.so.12 does not load", "braintumor[gpu]"),
        (
            "CUDA driver version is insufficient for CUDA runtime",
            OLD_DRIVER,
            "driver is too old",
            "newer NVIDIA driver",
        ),
        ("", Nvidia(note="no NVIDIA GPU was found: x"), "no NVIDIA GPU", "nothing to fix"),
        ("", Nvidia(note="on the bus", driverless=True), "on the bus", "install NVIDIA's driver"),
    ],
)
def test_engine_finding_names_the_deepest_cause(log: str, cards: Nvidia, reason: str, remedy: str) -> None:
    outcome = Outcome(ok=False, reason="ONNX Runtime fell back", error="UnavailableError", log=log)
    library = LibraryFinding("onnxruntime", {"onnxruntime-gpu": "1.31.0"}, loads=True)
    finding = engine_finding("onnxruntime-cuda", outcome, library, cards)
    assert not finding.usable
    assert reason in finding.reason
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("intel", "library", "reason", "remedy"),
    [
        (False, "", "no Intel GPU was found", "nothing to fix: this machine has no Intel GPU"),
        (False, "it is not installed", "no Intel GPU was found", "nothing to fix: this machine has no Intel GPU"),
        (
            True,
            "",
            "the engine openvino-gpu needs OpenVINO's device GPU.0; it has CPU",
            "install the driver of the In",
        ),
        (
            None,
            "",
            "the engine openvino-gpu needs OpenVINO's device GPU.0; it has CPU",
            "install the driver of the In",
        ),
        (True, "it is not installed", "it is not installed", "pip install it"),
    ],
)
def test_engine_finding_never_reinstalls_openvino_for_a_missing_gpu(
    intel: bool | None, library: str, reason: str, remedy: str
) -> None:
    pytest.importorskip("openvino")
    outcome = probe("engine", "openvino-gpu", limit_s=LIMIT_S)
    if outcome.ok:
        pytest.skip("this machine has an Intel GPU")
    stands_on = LibraryFinding(
        "openvino", {"openvino": "2026.4.1"}, not library, library, library and "pip install it"
    )
    finding = engine_finding("openvino-gpu", outcome, stands_on, Nvidia(), intel=intel)
    assert finding.reason.startswith(reason)
    assert finding.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("cards", "remedy"),
    [(Nvidia(), ""), (Nvidia(driverless=True), "pip install"), (A4000, "pip install")],
)
def test_library_finding_recommends_gpu_libraries_with_a_gpu_only(cards: Nvidia, remedy: str) -> None:
    missing = Outcome(ok=False, reason="No module named 'tensorrt'", error="ModuleNotFoundError", missing="tensorrt")
    finding = library_finding("tensorrt", {}, missing, cards)
    assert (finding.reason, finding.remedy[:11]) == ("it is not installed", remedy)


@posix
@pytest.mark.parametrize("knows_compute_capability", [True, False])
def test_read_nvidia_reads_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knows_compute_capability: bool
) -> None:
    refuse = "exit 0" if knows_compute_capability else "echo 'Field \"compute_cap\" is not a valid field'; exit 2"
    row = "NVIDIA RTX A4000, 580.65.06, 16376"
    (tmp_path / "nvidia-smi").write_text(
        '#!/bin/sh\ncase "$*" in\n'
        f"*compute_cap*) {'echo ' + repr(row + ', 8.6') + '; ' if knows_compute_capability else ''}{refuse};;\n"
        f"*query*) echo '{row}';;\n"
        "*) echo '| NVIDIA-SMI 580.65.06   Driver Version: 580.65.06   CUDA Version: 13.0 |';;\nesac\n",
        encoding="utf-8",
    )
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    machine = read_nvidia()
    assert machine.cuda == "13.0"
    (gpu,) = machine.gpus
    assert (gpu.name, gpu.driver, gpu.memory_mb) == ("NVIDIA RTX A4000", "580.65.06", pytest.approx(17171.5, abs=1))
    assert gpu.compute_capability == ("8.6" if knows_compute_capability else None)


@posix
def test_read_nvidia_quotes_a_failing_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver."
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho '{words}'\nexit 9\n", encoding="utf-8")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    machine = read_nvidia()
    assert machine.gpus == ()
    assert words in machine.note


def test_installed_survives_damaged_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt_cu13-11.4.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert installed(LIBRARIES["tensorrt"]) == {"tensorrt-cu13": "unknown"}


def test_libraries_have_the_versions_and_extras_of_setup_cfg() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    extras: Mapping[str, Any] = parser["options.extras_require"]
    for library in LIBRARIES.values():
        requirements = extras[library.extra]
        assert any(f"{name}>={library.minimum}\n" in f"{requirements}\n" for name in library.distributions), library
        assert library.extra_for(gpu=True) in extras


def test_engine_libraries_cover_the_registry() -> None:
    assert {entry.library for entry in ENGINES.values()} <= set(ENGINE_LIBRARIES)
    assert list(ENGINE_LIBRARIES) == ["onnxruntime", "openvino", "tensorrt", "tensorrt-rtx", "cuda", "cuda-core"]


@pytest.mark.parametrize("engine", ["tensorrt", "tensorrt-rtx"])
@pytest.mark.parametrize("lacking", [None, "own", "cuda", "cuda-core"])
def test_engine_finding_of_tensorrt_names_the_missing_library(engine: str, lacking: str | None) -> None:
    own = ENGINES[engine].library
    amiss = own if lacking == "own" else lacking
    libraries = {
        name: LibraryFinding(name, {}, name != amiss, f"{name} is missing" if name == amiss else "", "pip install it")
        for name in ENGINE_LIBRARIES
    }
    outcome = Outcome(ok=False, reason="it does not answer", error="UnavailableError")
    finding = engine_finding(engine, outcome, decisive(engine, libraries), A4000)
    assert finding.reason == (f"{amiss} is missing" if amiss else "it does not answer")
    assert finding.remedy


def test_engine_finding_of_tensorrt_for_rtx_names_another_engine() -> None:
    library = library_finding("tensorrt-rtx", {"tensorrt-rtx-cu13": "1.7.1"}, LOADED, H200)
    outcome = Outcome(ok=False, reason="does not build for SM90", error="UnavailableError")
    finding = engine_finding("tensorrt-rtx", outcome, library, H200)
    assert "this machine has 9.0" in finding.reason
    assert finding.remedy == "use `engine='tensorrt'` or `engine='onnxruntime-cuda'`"


def test_doctor_help_loads_no_numpy() -> None:
    code = "import sys; from braintumor.runtime.doctor.cli import doctor; doctor(['--help'], standalone_mode=False)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{code}; sys.exit('numpy' in sys.modules)"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
