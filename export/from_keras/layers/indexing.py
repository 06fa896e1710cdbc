"""Operations that take parts of a tensor: indexing, splitting, flipping."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.layers.axes import chosen_axes, reshaped, value_axis
from braintumor.export.from_keras.tensor import Call, Tensor

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["OPERATIONS"]

_FIRST: Final = -(2**31)  # ends behind the first element, counted backwards


def _get_item(call: Call, graph: Builder) -> Tensor:
    """`x[..., 0]`, `x[:, 1:-1, ::2]`, `x[:, None]`: numbers, slices, `...` and None."""
    tensor = call.input
    keys = _per_axis(call, call.args[1] if len(call.args) > 1 else call.kwargs["key"])
    slices: list[slice] = []
    shape: list[int] = []
    sizes = list(tensor.shape)
    for key in keys:
        if key is None:
            shape.append(1)
            continue
        axis = len(slices)
        part = _as_slice(key, tensor.shape[axis])
        slices.append(part)
        sizes[axis] = len(range(*part.indices(tensor.shape[axis])))
        if isinstance(key, slice):
            shape.append(sizes[axis])
    if 0 in sizes:
        raise call.unsupported("it takes nothing of its input")
    reshape = tuple(shape) != tuple(sizes)
    value = _sliced(call, tensor, slices, graph, f"{call.name}/slice" if reshape else call.name)
    return reshaped(Tensor(value, tuple(sizes), tensor.is_map, tensor.dtype), tuple(shape), graph, call.name)


def _per_axis(call: Call, key: Any) -> list[slice | int | None]:
    """One entry for each axis behind the batch, and None for each new one."""
    keys = [_entry(call, item) for item in (key if isinstance(key, list) else [key])]
    named = sum(item is not None and item is not Ellipsis for item in keys)
    missing = [slice(None)] * (len(call.input.shape) + 1 - named)
    if Ellipsis in keys:
        place = keys.index(Ellipsis)
        keys[place : place + 1] = missing
    else:
        keys += missing
    if not keys or keys[0] != slice(None) or Ellipsis in keys:
        raise call.unsupported("it takes a part of the batch")
    return keys[1:]


def _entry(call: Call, item: Any) -> Any:
    if isinstance(item, dict):
        config = item.get("config", {})
        if item.get("class_name") == "__ellipsis__":
            return Ellipsis
        if item.get("class_name") == "__slice__":
            return slice(config.get("start"), config.get("stop"), config.get("step"))
    if item is None or (isinstance(item, int) and not isinstance(item, bool)):
        return item
    raise call.unsupported(f"it is indexed by {item!r:.80}")


def _as_slice(key: slice | int, size: int) -> slice:
    if isinstance(key, slice):
        return key
    start = key % size
    return slice(start, start + 1)


def _sliced(call: Call, tensor: Tensor, parts: list[slice], graph: Builder, name: str) -> "ir.Value":
    """One Slice over all axes that lose something."""
    starts, ends, axes, steps = [], [], [], []
    for index, part in enumerate(parts):
        start, stop, step = part.indices(tensor.shape[index])
        if (start, stop, step) == (0, tensor.shape[index], 1):
            continue
        starts.append(start)
        ends.append(_FIRST if stop < 0 else stop)
        axes.append(value_axis(tensor, index + 1))
        steps.append(step)
    if not axes:
        return tensor.value
    bounds = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    inputs = [graph.integers(f"{call.name}/{key}", numbers) for key, numbers in bounds.items()]
    return graph.node("Slice", [tensor.value, *inputs], name)


def _split(call: Call, graph: Builder) -> tuple[Tensor, ...]:
    """`split` into equal parts, or at given places."""
    tensor = call.input
    (axis,) = chosen_axes(call, call.config.get("axis", 0), len(tensor.shape) + 1)
    size, sections = tensor.shape[axis - 1], call.config.get("indices_or_sections")
    if isinstance(sections, int):
        places = [size // sections * index for index in range(1, sections)]
    elif isinstance(sections, list | tuple):
        places = [int(place) for place in sections]
    else:
        raise call.unsupported(f"it splits at {sections!r:.100}")
    sizes = [stop - start for start, stop in zip([0, *places], [*places, size], strict=True)]
    if min(sizes) < 1:
        raise call.unsupported(f"it splits {size} values at {places}")
    inputs = [tensor.value, graph.integers(f"{call.name}/sizes", sizes)]
    values = graph.node_outputs(len(sizes), "Split", inputs, call.name, axis=value_axis(tensor, axis))
    before, behind = tensor.shape[: axis - 1], tensor.shape[axis:]
    return tuple(
        Tensor(value, (*before, length, *behind), tensor.is_map) for value, length in zip(values, sizes, strict=True)
    )


def _flip(call: Call, graph: Builder) -> Tensor:
    """`flip` along one axis or several."""
    tensor = call.input
    axes = chosen_axes(call, call.config.get("axis"), len(tensor.shape) + 1)
    parts = [slice(None, None, -1 if index + 1 in axes else None) for index in range(len(tensor.shape))]
    return tensor.replace(_sliced(call, tensor, parts, graph, call.name))


OPERATIONS: Final[dict[str, Callable[[Call, Builder], Tensor | tuple[Tensor, ...]]]] = {
    "Flip": _flip,
    "GetItem": _get_item,
    "Split": _split,
}
