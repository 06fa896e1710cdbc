"""The tensors that each call of a layer takes, from the histories of a config: [layer, call, tensor]."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from braintumor.export.from_keras.graph import TensorRef

__all__ = ["call_arguments", "call_order", "histories", "leaves"]

_HISTORY_LENGTH: Final = 3


def call_order(layers: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Every call as (layer, number of the call), each behind those whose results it takes."""
    needs = {
        (layer["name"], index): [(name, number) for name, number, _ in _tensors(node)]
        for layer in layers
        for index, node in enumerate(layer["inbound_nodes"])
    }
    ordered: dict[tuple[str, int], None] = {}
    entered: set[tuple[str, int]] = set()
    for start in needs:
        stack = [start]
        while stack:
            call = stack[-1]
            missing = [need for need in needs[call] if need in needs and need not in ordered]
            if call in ordered or not missing:
                ordered[stack.pop()] = None
                continue
            if call in entered:
                raise ValueError(f"the layer {call[0]} takes its own result")
            entered.add(call)
            stack.extend(reversed(missing))
    return list(ordered)


def call_arguments(
    layer: Mapping[str, Any], index: int, made: Mapping[tuple[str, int], list[TensorRef]]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments and keywords of a call, with a `TensorRef` for each tensor."""
    node = layer["inbound_nodes"][index]

    def resolve(value: Any) -> Any:
        if isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                name, number, tensor = value["config"]["keras_history"]
                return made[name, number][tensor]
            return {key: resolve(item) for key, item in value.items()}
        return [resolve(item) for item in value] if isinstance(value, list) else value

    return tuple(resolve(node["args"])), {**resolve(node["kwargs"])}


def _tensors(node: Any) -> Iterator[tuple[str, int, int]]:
    """The histories of all tensors that a call takes."""
    stack = [node["kwargs"], node["args"]]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                name, number, tensor = value["config"]["keras_history"]
                yield name, number, tensor
            else:
                stack.extend(reversed(value.values()))
        elif isinstance(value, list):
            stack.extend(reversed(value))


def histories(value: Any) -> Iterator[tuple[str, int, int]]:
    """The [layer, call, tensor] triples in any nesting of lists and dictionaries."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from histories(item)
    elif len(value) == _HISTORY_LENGTH and isinstance(value[0], str):
        yield value[0], value[1], value[2]
    else:
        for item in value:
            yield from histories(item)


def leaves(value: Any) -> Iterator[Any]:
    """The leaves of nested lists, tuples and dictionaries."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, Mapping):
        yield from leaves(list(value.values()))
    else:
        yield value
