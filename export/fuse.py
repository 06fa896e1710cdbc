"""All members in one graph: a shared input, and the vote inside. Is that faster than a session a member?

python -m braintumor.export.fuse BUNDLE [--batch 1,32] [--rounds 9]

Measured in turns, both ways in one process, with the engines that `bt-infer` uses. It is not, on a CPU: the shipped
ensemble at 128 pixels on two AVX-512 cores, time of the separate sessions over that of the one graph:

    engine           batch    FP32    INT8
    onnxruntime-cpu      1   1.026   1.002
    onnxruntime-cpu     32   0.992   0.972
    openvino-cpu         1   1.001   1.009
    openvino-cpu        32   0.998   0.998

Every interval, of seven pairs each, has 1 in it. So a bundle keeps one file a member: members can be left out by
early exit, are verified one by one, and may differ in precision.
"""

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper, numpy_helper

from braintumor.bench.paired import Ratio, paired_ratio
from braintumor.bench.phantoms import phantoms
from braintumor.bench.timing import timed_ms
from braintumor.errors import ModelError, UnavailableError
from braintumor.export.frame import BATCH, IMAGE, PROBABILITIES
from braintumor.runtime.bundle import Bundle, Member, load_bundle
from braintumor.runtime.engine import Engine
from braintumor.runtime.files import sha256_of
from braintumor.runtime.members import Members, load_members
from braintumor.runtime.registry import ENGINES, engine_factory
from braintumor.runtime.vote import soft_vote, vote_shares

__all__ = ["Comparison", "compare", "fused"]

# The vote inside the graph adds in another order than `soft_vote`; engines join other nodes.
_EQUAL: Final = 1e-5
_INT8_STEPS: Final = 2e-2
_CPU: Final = "cpu"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One engine at one batch size, in turns.

    Attributes:
        engine: Of the registry.
        batch: Images a call.
        separate_ms: Median of a call of one session a member and the vote.
        fused_ms: Median of a call of the one graph.
        gain: How long the separate sessions take beside the one graph; above 1, the graph is faster.
    """

    engine: str
    batch: int
    separate_ms: float
    fused_ms: float
    gain: Ratio


def fused(models: Mapping[str, onnx.ModelProto], weights: Sequence[float]) -> onnx.ModelProto:
    """One graph of members with the same input.

    Args:
        models: Name → framed model.
        weights: Of the vote, one a model.

    Returns:
        A checked model that takes what each takes and gives the soft vote; each member's own answer is there as
        NAME/probabilities.

    Raises:
        ModelError: The members take images of different sizes.
    """
    inputs = {model.graph.input[0].SerializeToString() for model in models.values()}
    if len(inputs) != 1:
        raise ModelError(f"{', '.join(models)} take images of different sizes; one graph has one input")
    nodes, constants, voices, votes = [], [], [], []
    for (name, model), share in zip(models.items(), vote_shares(weights).tolist(), strict=True):
        part = compose.add_prefix(model, f"{name}/").graph
        for node in part.node:
            node.input[:] = [IMAGE if item == f"{name}/{IMAGE}" else item for item in node.input]
        nodes += part.node
        constants += [*part.initializer, numpy_helper.from_array(np.array(share, np.float32), f"{name}/share")]
        nodes.append(helper.make_node("Mul", [f"{name}/{PROBABILITIES}", f"{name}/share"], [f"{name}/voice"]))
        voices.append(f"{name}/voice")
        votes += part.output
    nodes.append(helper.make_node("Sum", voices, [PROBABILITIES], name="vote"))
    first = next(iter(models.values()))
    classes = first.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    vote = helper.make_tensor_value_info(PROBABILITIES, onnx.TensorProto.FLOAT, [BATCH, classes])
    graph = helper.make_graph(nodes, "ensemble", first.graph.input, [vote, *votes], constants)
    model = helper.make_model(graph, opset_imports=first.opset_import, ir_version=first.ir_version)
    onnx.checker.check_model(model)
    return model


def compare(bundle: Bundle, batches: Sequence[int], rounds: int) -> list[Comparison]:
    """Time both ways on every engine of the CPU that is usable here, in turns.

    Args:
        bundle: Verified; all members of one size.
        batches: Images a call.
        rounds: Pairs of calls.

    Raises:
        ModelError: The two ways do not give the same vote.
    """
    models = {member.name: onnx.load(str(member.path)) for member in bundle.members}
    whole = fused(models, [member.weight for member in bundle.members])
    # An engine takes one output.
    del whole.graph.output[1:]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fused.onnx"
        onnx.save(whole, str(path))
        single = replace(bundle.members[0], name="ensemble", path=path, sha256=sha256_of(path))
        for name in (name for name, entry in ENGINES.items() if entry.device == _CPU):
            try:
                engine = engine_factory(name)(single, threads=None, device=0)
            except UnavailableError:
                continue
            with engine, load_members(bundle, name, device=0, threads=None) as separate:
                found += [_compared(bundle, separate, engine, batch, rounds) for batch in batches]
    return found


def _compared(bundle: Bundle, separate: Members, engine: Engine, batch: int, rounds: int) -> Comparison:
    images = phantoms(batch, bundle.members[0].height, bundle.members[0].width)
    weights = [member.weight for member in bundle.members]

    def by_members() -> NDArray[np.float32]:
        answers = separate.ask(dict.fromkeys(separate.geometries, images))
        return soft_vote(answers.probabilities, weights)

    difference = float(np.abs(by_members() - engine.infer(images)).max())
    allowed = _INT8_STEPS if _is_int8(bundle.members) else _EQUAL
    if not difference <= allowed:
        raise ModelError(
            f"{engine.info.name}: one graph and a session a member differ by {difference:.2g}; {allowed:g} is allowed"
        )
    pairs = [(timed_ms(by_members), timed_ms(lambda: engine.infer(images))) for _ in range(rounds)]
    separate_ms, fused_ms = ([pair[side] for pair in pairs] for side in (0, 1))
    return Comparison(
        engine.info.name,
        batch,
        statistics.median(separate_ms),
        statistics.median(fused_ms),
        paired_ratio(fused_ms, separate_ms),
    )


def _is_int8(members: Sequence[Member]) -> bool:
    return any(member.precision == "int8" for member in members)


def _batches(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    del context, parameter
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise click.BadParameter(f"{text!r} is no list of batch sizes; give whole numbers from 1, as in 1,32")
    return found


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--batch", "batches", default="1,32", show_default=True, callback=_batches, help="Images a call.")
@click.option("--rounds", type=click.IntRange(3), default=9, show_default=True, help="Pairs of calls.")
def main(bundle: Path, batches: tuple[int, ...], rounds: int) -> None:
    """Measure BUNDLE as one graph and as a session a member."""
    for found in compare(load_bundle(bundle), batches, rounds):
        click.echo(
            f"{found.engine:16} batch {found.batch:>3}  a session a member {found.separate_ms:8.1f} ms  one graph "
            f"{found.fused_ms:8.1f} ms  gain {found.gain.median:.3f} ({found.gain.low:.3f} to {found.gain.high:.3f})"
        )


if __name__ == "__main__":
    main()
