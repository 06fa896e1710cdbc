"""Passes over ONNX graphs: simplify, wrap input and output, lower the precision, quantise, lint."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.export.graph.io_wrapper import IoWrapper, wrap_io
    from braintumor.export.graph.lint import Finding, require_clean
    from braintumor.export.graph.precision import PRECISIONS, Precision, at_precision, at_precision_around_qdq
    from braintumor.export.graph.qdq import insert_qdq, weighted_nodes
    from braintumor.export.graph.quantization_plan import QuantisationPlan, plan_beside, read_plan, write_plan
    from braintumor.export.graph.structure import Structure, structure_of

__all__ = [
    "PRECISIONS",
    "Finding",
    "IoWrapper",
    "Precision",
    "QuantisationPlan",
    "Structure",
    "at_precision",
    "at_precision_around_qdq",
    "insert_qdq",
    "plan_beside",
    "read_plan",
    "require_clean",
    "structure_of",
    "weighted_nodes",
    "wrap_io",
    "write_plan",
]

__getattr__ = lazy_getattr(
    __name__,
    io_wrapper=("IoWrapper", "wrap_io"),
    lint=("Finding", "require_clean"),
    precision=("PRECISIONS", "Precision", "at_precision", "at_precision_around_qdq"),
    qdq=("insert_qdq", "weighted_nodes"),
    quantization_plan=("QuantisationPlan", "plan_beside", "read_plan", "write_plan"),
    structure=("Structure", "structure_of"),
)
