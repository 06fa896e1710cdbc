"""The probe of a bundle: images, and each member's answers when it was verified.

An engine that is chosen by its speed must first give these answers. The images are generated phantoms, raw
uint8 [images, height, width] in a file that `bundle.json` lists with its hash: there is nothing to be parsed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from braintumor.runtime.bundle.load import Bundle, Member
from braintumor.runtime.bundle.verified import read_verified

__all__ = ["TOLERANCES", "Probe", "probe_mismatch", "probe_of", "probes_of"]

TOLERANCES: Final[Mapping[str, float]] = MappingProxyType({"fp32": 1e-4, "fp16": 1e-2, "bf16": 6e-2, "int8": 0.5})
"""The largest |Δp| from the probe's answers, by precision.

fp32: engines differ by up to 2e-6; computing in bfloat16 unasked, the fault to be caught, moves 1e-2. The others:
twice what the export allows against Keras, since the probe's own answers and the engine's may depart to opposite
sides.
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """Images, and the answers of one member.

    Attributes:
        images: uint8 [images, height, width], of the member's size.
        probabilities: float32 [images, classes], by ONNX Runtime on the CPU.
    """

    images: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


def probe_of(member: Member) -> Probe | None:
    """The member's probe; None in a bundle that has none, as those of older versions.

    Raises:
        IntegrityError: Its file is not the one that the bundle lists.
    """
    if member.probe is None:
        return None
    raw = np.frombuffer(read_verified(member.probe, member.details["probe"]["sha256"], model=False), np.uint8)
    answers = np.array(member.details["probe"]["probabilities"], np.float32)
    return Probe(raw.reshape(len(answers), member.height, member.width), answers)


def probes_of(bundle: Bundle) -> tuple[Probe, ...]:
    """One probe a member, all of the same number of images; empty when one is missing."""
    probes = tuple(probe for member in bundle.members if (probe := probe_of(member)) is not None)
    usable = len(probes) == len(bundle.members) and len({len(probe.images) for probe in probes}) == 1
    return probes if usable else ()


def probe_mismatch(answers: NDArray[np.float32], probe: Probe, precision: str) -> str:
    """A description of how an engine's answers differ from the probe by more than its precision allows; "" if not.

    A label must stay where the expected margin exceeds the tolerance: a smaller one may be lost by rounding.

    Args:
        answers: float32 [images, classes].
        probe: The expected answers.
        precision: Of the member.
    """
    if answers.shape != probe.probabilities.shape:
        return f"it gives {list(answers.shape)} values for {len(probe.images)} probe images"
    tolerance = TOLERANCES[precision]
    difference = float(np.abs(answers - probe.probabilities).max())
    # A NaN compares false, and so differs.
    if not difference <= tolerance:
        return f"its probabilities are {difference:.2g} off; at {precision} {tolerance:g} is allowed"
    ordered = np.sort(probe.probabilities, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > tolerance
    flips = int((answers.argmax(axis=1) != probe.probabilities.argmax(axis=1))[clear].sum())
    return f"it gives {flips} of {len(answers)} probe images another label" if flips else ""
