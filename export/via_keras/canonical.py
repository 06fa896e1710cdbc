"""One form for one network: tf2onnx gives the same one other names and another order from run to run.

What a node is follows from its operator, its attributes and what it takes, down to the network's inputs and the
values of its constants. Nodes that are the same become one; they stand in the order in which the outputs need them,
and are named by operator and number: `conv_7`, a constant by the first node that takes it: `conv_7/1`.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import onnx
from onnx import numpy_helper

__all__ = ["canonical"]


def canonical(model: onnx.ModelProto) -> onnx.ModelProto:
    """A network in its one form. The given model is used up.

    Args:
        model: Without branches inside of nodes whose names matter.

    Returns:
        A model that computes the same under the same names of inputs and outputs; what no output needs is left out.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    identity = {item.name: f"input {item.name}" for item in graph.input}
    identity |= {name: _content(tensor) for name, tensor in constants.items()}
    names = {identity[item.name]: item.name for item in graph.input}
    nodes: list[onnx.NodeProto] = []
    kept: list[onnx.TensorProto] = []
    numbers: Counter[str] = Counter()
    for node in _needed(graph):
        digest = _digest(node, [identity.get(name, "") for name in node.input])
        identity |= {name: f"{digest}:{index}" for index, name in enumerate(node.output)}
        if f"{digest}:0" in names:
            continue
        numbers[node.op_type] += 1
        own = f"{node.op_type.lower()}_{numbers[node.op_type]}"
        for index, name in enumerate(node.input):
            if name in constants and identity[name] not in names:
                names[identity[name]] = f"{own}/{index}"
                kept.append(_renamed(constants[name], f"{own}/{index}"))
        names |= {f"{digest}:{index}": f"{own}:{index}" if index else own for index in range(len(node.output))}
        nodes.append(_rebuilt(node, own, identity, names))
    outputs = {item.name: names[identity[item.name]] for item in graph.output}
    return _assembled(model, _with_outputs(nodes, outputs), kept)


def _needed(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes that the outputs need, each behind what it takes, in the order in which it is taken."""
    made_by = {name: node for node in graph.node for name in node.output if name}
    done: set[int] = set()
    stack = [(made_by[item.name], False) for item in reversed(graph.output) if item.name in made_by]
    while stack:
        node, ready = stack.pop()
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            yield node
            continue
        stack.append((node, True))
        stack.extend((made_by[name], False) for name in reversed(node.input) if name in made_by)


def _content(tensor: onnx.TensorProto) -> str:
    values = numpy_helper.to_array(tensor)
    said = f"{tensor.data_type} {list(tensor.dims)} ".encode()
    return hashlib.sha256(said + values.tobytes()).hexdigest()


def _digest(node: onnx.NodeProto, taken: Sequence[str]) -> str:
    attributes = sorted(item.SerializeToString(deterministic=True) for item in node.attribute)
    said = repr([node.domain, node.op_type, attributes, list(taken), len(node.output)])
    return hashlib.sha256(said.encode()).hexdigest()


def _renamed(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    tensor.name = name
    return tensor


def _rebuilt(node: onnx.NodeProto, own: str, identity: Mapping[str, str], names: Mapping[str, str]) -> onnx.NodeProto:
    """A node with its own name, and its inputs and outputs by theirs."""
    taken = [names[identity[name]] if name else "" for name in node.input]
    given = [names[identity[name]] if name else "" for name in node.output]
    attributes = sorted(node.attribute, key=lambda item: str(item.name))
    return onnx.NodeProto(
        op_type=node.op_type, domain=node.domain, name=own, input=taken, output=given, attribute=attributes
    )


def _with_outputs(nodes: Sequence[onnx.NodeProto], outputs: Mapping[str, str]) -> list[onnx.NodeProto]:
    """The nodes, with the names of the outputs where these are made."""
    made = {name for node in nodes for name in node.output}
    called = {source: name for name, source in outputs.items() if source in made}
    for node in nodes:
        node.input[:] = [called.get(name, name) for name in node.input]
        node.output[:] = [called.get(name, name) for name in node.output]
    # An output that is an input, or the same as another output.
    further = [(name, source) for name, source in outputs.items() if called.get(source) != name]
    return [
        *nodes,
        *(
            onnx.NodeProto(
                op_type="Identity", name=f"output_{index}", input=[called.get(source, source)], output=[name]
            )
            for index, (name, source) in enumerate(further, start=1)
        ),
    ]


def _assembled(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], constants: Sequence[onnx.TensorProto]
) -> onnx.ModelProto:
    found = onnx.ModelProto(
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        opset_import=sorted(model.opset_import, key=lambda item: str(item.domain)),
    )
    graph = model.graph
    found.graph.name = graph.name
    found.graph.node.extend(nodes)
    found.graph.initializer.extend(constants)
    found.graph.input.extend(graph.input)
    found.graph.output.extend(graph.output)
    return found
