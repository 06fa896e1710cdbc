"""A diagnosis as JSON or as tables for a person."""

import json
from collections.abc import Iterator
from typing import Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from braintumor.runtime.doctor.diagnosis import Diagnosis

__all__ = ["write_json", "write_tables"]

_COLUMNS: Final = 140


def write_json(diagnosis: Diagnosis, stream: TextIO) -> None:
    """One object of the schema "braintumor.doctor/1", in ASCII."""
    json.dump(diagnosis.to_dict(), stream, allow_nan=False, indent=2)
    stream.write("\n")


def write_tables(diagnosis: Diagnosis, stream: TextIO) -> None:
    """The machine, the libraries, the engines, and the remedies."""
    # A log or a bug report has more room than Rich supposes where there is no terminal.
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else _COLUMNS)
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _facts(diagnosis):
        facts.add_row(name, Text(value))
    console.print(facts)
    findings = Table(box=None, pad_edge=False)
    for column in ("", "state", "runs on / version", "problem"):
        findings.add_column(column, overflow="fold")
    for engine in diagnosis.engines:
        runs_on = ", ".join(engine.runs_on.values())
        findings.add_row(engine.name, "usable" if engine.usable else "NOT usable", Text(runs_on), Text(engine.reason))
    findings.add_section()
    for library in diagnosis.libraries:
        versions = ", ".join(f"{name} {version}" for name, version in library.installed.items())
        state = "loads" if library.loads else "does NOT load" if library.installed else "-"
        findings.add_row(library.name, state, Text(versions), Text(library.reason))
    console.print()
    console.print(findings)
    console.print()
    for name, remedy in _remedies(diagnosis):
        console.print(Text(f"{name}: {remedy}"), soft_wrap=True)
    usable = [engine.name for engine in diagnosis.engines if engine.usable]
    console.print(Text(f"Usable here: {', '.join(usable) or 'no engine'}"))


def _facts(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    here, nvidia, cache, bundle = diagnosis.machine, diagnosis.nvidia, diagnosis.cache, diagnosis.bundle
    flags = [f"{name} {'yes' if there else 'no'}" for name, there in here.cpu_flags.items()]
    yield "braintumor", f"{diagnosis.version} on Python {here.python}, {here.os}"
    yield "CPU", f"{here.cpu}, {here.usable_cores} of {here.logical_cores} cores usable"
    yield "", ", ".join(flags) or "this platform does not tell its instruction sets"
    yield "memory", f"{here.memory_mb:,.0f} MB" if here.memory_mb else "this platform does not tell"
    for gpu in nvidia.gpus:
        memory = f", {gpu.memory_mb:,.0f} MB" if gpu.memory_mb else ""
        yield "NVIDIA", f"{gpu.name}{memory}, compute capability {gpu.compute_capability or 'unknown'}"
        yield "", f"driver {gpu.driver}, CUDA up to {nvidia.cuda or 'unknown'}"
    if not nvidia.gpus:
        yield "NVIDIA", nvidia.note
    devices = ", ".join(f"{device} ({name})" for device, name in diagnosis.openvino_devices.items())
    yield "OpenVINO", devices or "no device"
    state = f"{cache.size_mb:,.1f} MB, writable" if cache.writable else f"NOT writable: {cache.reason}"
    yield "cache", f"{cache.folder or ''} {state}".strip()
    if bundle.verified:
        yield (
            "bundle",
            f"{bundle.facts['folder']} ({bundle.facts['precision']}: {', '.join(bundle.facts['members'])})",
        )
    else:
        yield "bundle", bundle.reason


def _remedies(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    """Each remedy once, with the names of all that it fixes: an engine's is often its library's."""
    named: dict[str, list[str]] = {}
    engines = [(engine.name, engine.remedy) for engine in diagnosis.engines]
    for name, remedy in engines + [(library.name, library.remedy) for library in diagnosis.libraries]:
        names = named.setdefault(remedy, [])
        if name not in names:
            names.append(name)
    return ((", ".join(names), remedy) for remedy, names in named.items() if remedy)
