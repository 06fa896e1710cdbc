"""One form for one network: tf2onnx gives the same one other names and another order from run to run.

The identity of a node follows from its operator, its attributes and its inputs, down to the network's inputs and the
values of its constants. Equal nodes become one; they are ordered as the outputs need them, and named by operator and
number: `conv_7`, a constant by the first node that reads it: `conv_7/1`.
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
        A model with the same results, inputs and outputs; nodes that no output needs are left out.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    identity = {item.name: f"input {item.name}" for item in graph.input}
    identity |= {name: _content(tensor) for name, tensor in constants.items()}
    names = {identity[item.name]: item.name for item in graph.input}
    nodes: list[onnx.NodeProto] = []
    ordered: list[onnx.TensorProto] = []
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
                ordered.append(_renamed(constants[name], f"{own}/{index}"))
        names |= {f"{digest}:{index}": f"{own}:{index}" if index else own for index in range(len(node.output))}
        nodes.append(_rebuilt(node, own, identity, names))
    outputs = {item.name: names[identity[item.name]] for item in graph.output}
    return _assembled(model, _with_outputs(nodes, outputs), ordered)


def _needed(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes that the outputs need, each after its inputs, in the order of the inputs."""
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
    header = f"{tensor.data_type} {list(tensor.dims)} ".encode()
    return hashlib.sha256(header + values.tobytes()).hexdigest()


def _digest(node: onnx.NodeProto, inputs: Sequence[str]) -> str:
    attributes = sorted(item.SerializeToString(deterministic=True) for item in node.attribute)
    description = repr([node.domain, node.op_type, attributes, list(inputs), len(node.output)])
    return hashlib.sha256(description.encode()).hexdigest()


def _renamed(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    tensor.name = name
    return tensor


def _rebuilt(node: onnx.NodeProto, own: str, identity: Mapping[str, str], names: Mapping[str, str]) -> onnx.NodeProto:
    """A node with its own name, and its inputs and outputs by theirs."""
    inputs = [names[identity[name]] if name else "" for name in node.input]
    outputs = [names[identity[name]] if name else "" for name in node.output]
    attributes = sorted(node.attribute, key=lambda item: str(item.name))
    return onnx.NodeProto(
        op_type=node.op_type, domain=node.domain, name=own, input=inputs, output=outputs, attribute=attributes
    )


def _with_outputs(nodes: Sequence[onnx.NodeProto], outputs: Mapping[str, str]) -> list[onnx.NodeProto]:
    """The nodes, with the names of the model's outputs."""
    computed = {name for node in nodes for name in node.output}
    renamed = {source: name for name, source in outputs.items() if source in computed}
    for node in nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    # An output that is an input, or the same as another output.
    further = [(name, source) for name, source in outputs.items() if renamed.get(source) != name]
    return [
        *nodes,
        *(
            onnx.NodeProto(
                op_type="Identity", name=f"output_{index}", input=[renamed.get(source, source)], output=[name]
            )
            for index, (name, source) in enumerate(further, start=1)
        ),
    ]


def _assembled(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], constants: Sequence[onnx.TensorProto]
) -> onnx.ModelProto:
    assembled = onnx.ModelProto(
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        opset_import=sorted(model.opset_import, key=lambda item: str(item.domain)),
    )
    graph = model.graph
    assembled.graph.name = graph.name
    assembled.graph.node.extend(nodes)
    assembled.graph.initializer.extend(constants)
    assembled.graph.input.extend(graph.input)
    assembled.graph.output.extend(graph.output)
    return assembled
