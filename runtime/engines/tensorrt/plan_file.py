"""A plan, and the JSON file beside it.

The sidecar has what cannot be read out of a plan without the GPU that it was built for.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from braintumor.errors import IntegrityError
from braintumor.files import output_error
from braintumor.runtime.engines.tensorrt.profile import BatchProfile

__all__ = ["SCHEMA", "PlanFacts", "PlanTensor", "read_facts", "read_plan", "sidecar_of", "write_plan"]

SCHEMA: Final = "braintumor.plan/1"
_MAX_SIDECAR_BYTES: Final = 1 << 20
_REMEDY: Final = "remove the plan, and it is built again"


@dataclass(frozen=True, slots=True)
class PlanTensor:
    """An input or output.

    Attributes:
        name: As the graph calls it.
        dtype: In NumPy's terms, such as "uint8".
        shape: -1 for the batch.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """The content of a sidecar.

    Attributes:
        library: "tensorrt" or "tensorrt-rtx".
        library_version: That built it; no other version loads it, unless `version_compatible`.
        onnx_sha256: Of the model that it was built from.
        inputs: In the graph's order.
        outputs: In the graph's order.
        profile: Batch sizes that it runs.
        compute_capabilities: Of the GPUs that it runs on, such as ("SM86",).
        gpu: Name of the GPU that it was built on; None where none was needed.
        driver: Of that GPU; None where none was needed.
        version_compatible: Newer versions of the library load it, too.
        hardware_compatibility: "none", "same" or "ampere+": which other GPUs load it.
        build_s: Seconds that the build took.
        plan_sha256: Of the plan.
        plan_bytes: Size of the plan.
    """

    library: str
    library_version: str
    onnx_sha256: str
    inputs: tuple[PlanTensor, ...]
    outputs: tuple[PlanTensor, ...]
    profile: BatchProfile
    compute_capabilities: tuple[str, ...]
    gpu: str | None
    driver: str | None
    version_compatible: bool
    hardware_compatibility: str
    build_s: float
    plan_sha256: str
    plan_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """As plain data of the schema "braintumor.plan/1", ready for JSON."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "PlanFacts":
        """The facts from `to_dict`.

        Raises:
            ValueError: It is of another schema, or lacks something. (KeyError and TypeError, too.)
        """
        if data["schema"] != SCHEMA:
            raise ValueError(f"its schema is {data['schema']!r}, not {SCHEMA!r}")
        values = {field.name: data[field.name] for field in fields(cls)}
        tensors = {
            side: tuple(
                PlanTensor(tensor["name"], tensor["dtype"], tuple(tensor["shape"])) for tensor in values[side]
            )
            for side in ("inputs", "outputs")
        }
        return cls(
            **values
            | tensors
            | {
                "profile": BatchProfile(**values["profile"]),
                "compute_capabilities": tuple(values["compute_capabilities"]),
            }
        )


def sidecar_of(plan: Path) -> Path:
    """The JSON file beside a plan."""
    return plan.with_name(f"{plan.name}.json")


def write_plan(path: Path, plan: bytes, facts: PlanFacts) -> None:
    """Write a plan and its sidecar; a plan that is there has a whole sidecar, too.

    Raises:
        OutputError: No permission, no space.
    """
    sidecar = json.dumps(facts.to_dict(), indent=1).encode()
    partial = {target: target.with_name(f".{target.name}.part") for target in (sidecar_of(path), path)}
    try:
        partial[path].write_bytes(plan)
        partial[sidecar_of(path)].write_bytes(sidecar)
        for target, written in partial.items():
            written.replace(target)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        for written in partial.values():
            with contextlib.suppress(OSError):
                written.unlink(missing_ok=True)


def read_facts(plan: Path) -> PlanFacts:
    """Read the sidecar of a plan.

    Raises:
        IntegrityError: There is none, or it is damaged.
    """
    path = sidecar_of(plan)
    try:
        with path.open("rb") as stream:
            # A longer one is cut, and so not JSON.
            return PlanFacts.from_dict(json.loads(stream.read(_MAX_SIDECAR_BYTES)))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(f"{path}, the sidecar of a plan, cannot be read ({error})", _REMEDY) from error


def read_plan(path: Path) -> tuple[bytes, PlanFacts]:
    """Read a plan that its sidecar's hash vouches for: loading one runs what it holds.

    Raises:
        IntegrityError: It, or its sidecar, is missing or damaged.
    """
    facts = read_facts(path)
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read ({error.strerror or error})", _REMEDY) from error
    digest = hashlib.sha256(plan).hexdigest()
    if digest != facts.plan_sha256:
        raise IntegrityError(
            f"{path} has SHA-256 {digest[:16]}…; its sidecar says {facts.plan_sha256[:16]}…", _REMEDY
        )
    return plan, facts
