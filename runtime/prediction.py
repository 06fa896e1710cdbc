"""The answer to one image, as a value and as JSON (schema `braintumor.prediction/1`)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from braintumor import NOTICE

__all__ = ["POLICIES", "SCHEMA", "ImageInfo", "MemberPrediction", "Policy", "Prediction", "Record"]

SCHEMA: Final = "braintumor.prediction/1"

Policy = Literal["full", "early-exit", "cascade"]
"""All members run; or members that can no longer change the label are skipped; or those not needed to be sure are."""

POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The image that a prediction is about.

    Attributes:
        path: As it was given; None for an image that came as an array or as bytes.
        sha256: Of the file's bytes (of the pixels, for an array); None when it could not be read.
        format: "PNG", "JPEG", "TIFF", "BMP" or "array".
        width: In pixels, after EXIF orientation.
        height: In pixels, after EXIF orientation.
        bits: Bits a channel in the file.
        frame: The frame that was read, from 0.
        frames: Frames in the file.
        orientation: EXIF's orientation, 1..8, by which it was turned and mirrored; 1 for not at all.
        transparent: Whether it has transparent pixels, which were composited over black.
    """

    path: str | None = None
    sha256: str | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    bits: int | None = None
    frame: int | None = None
    frames: int | None = None
    orientation: int | None = None
    transparent: bool | None = None


@dataclass(frozen=True, slots=True)
class MemberPrediction:
    """The prediction of one member of the ensemble.

    Attributes:
        name: The member.
        label: Its most probable class.
        probabilities: Class → 0..1; they sum to 1.
    """

    name: str
    label: str
    probabilities: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        input: The image.
        status: "ok", or "error" when this image has no answer.
        bundle: Name, sha256 and precision of the bundle; its "verdict": "accepted", "refused", "not shown" (of too
            few images), "stale" (accepted on another engine or version) or "not judged"; "judged_on", the engine of
            the verdict, where one is; and "class_order": "assumed" where nobody stated the order of a member's
            outputs at its export.
        engine: Name, provider, device and version of what executed.
        label: The ensemble's class.
        probabilities: The soft vote: class → 0..1, in the bundle's class order; they sum to 1. Where `bounds` is
            given it is the vote of those members only that ran; the label is that of the full vote all the same, but
            for the `risk` of a cascade.
        margin: Lead of the label over the runner-up, 0..1; None where not all members ran.
        entropy_nats: Shannon entropy of the vote, 0 (certain) .. ln(classes); None where not all members ran.
        policy: "full": all members ran. "early-exit": as many as the label needed. "cascade": as many as
            it took until they were sure.
        risk: Share of labels that may differ from the full vote; None where none can.
        members_run: Number of members that ran on this image.
        bounds: Class → lowest and highest probability that the full vote may give it; None where all members ran,
            and `probabilities` is the full vote.
        members: The predictions of the members that ran, in the bundle's order.
        timing_ms: "decode" of this image; "inference": its share of its batch, in which "batch" images were.
        error: "type" and "message", when status is "error".
    """

    input: ImageInfo
    status: Literal["ok", "error"]
    bundle: Mapping[str, str]
    engine: Mapping[str, str]
    label: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    margin: float | None = None
    entropy_nats: float | None = None
    policy: Policy = "full"
    risk: float | None = None
    members_run: int = 0
    bounds: Mapping[str, tuple[float, float]] | None = None
    members: tuple[MemberPrediction, ...] = ()
    timing_ms: Mapping[str, float] = field(default_factory=dict)
    error: Mapping[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The prediction as plain data, ready for JSON, with its schema and the notice."""
        image = {name: getattr(self.input, name) for name in ImageInfo.__slots__}
        members = [
            {"name": member.name, "label": member.label, "probabilities": dict(member.probabilities)}
            for member in self.members
        ]
        return {
            "schema": SCHEMA,
            "input": image,
            "status": self.status,
            "label": self.label,
            "probabilities": dict(self.probabilities),
            "margin": self.margin,
            "entropy_nats": self.entropy_nats,
            "policy": self.policy,
            "risk": self.risk,
            "members_run": self.members_run,
            "bounds": None if self.bounds is None else {name: list(pair) for name, pair in self.bounds.items()},
            "members": members,
            "bundle": dict(self.bundle),
            "engine": dict(self.engine),
            "timing_ms": dict(self.timing_ms),
            "error": None if self.error is None else dict(self.error),
            "notice": NOTICE,
        }

    def to_json(self) -> str:
        """The prediction as one line of JSON, in ASCII: safe in every encoding and for every file name."""
        return json.dumps(self.to_dict(), allow_nan=False)


Record = Prediction
"""The name of `Prediction` before 0.1.0; it goes with the release after that."""
