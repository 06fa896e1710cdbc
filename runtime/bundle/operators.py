"""The ONNX operators that a bundle may hold: arithmetic on tensors, and nothing that may not end.

What is missing here is missing on purpose: control flow (If, Loop, Scan, SequenceMap) may run for ever, random values
(RandomNormal, Dropout, …) are not an answer, and sequences, strings, image files and training have no place in a
classifier of pixels. `bt-export` writes nothing else, and `load_bundle` refuses it.
"""

from typing import Final

__all__ = ["OPERATORS"]

# By `braintumor.export.from_keras`, its passes, the wrapper of inputs and outputs, and the quantisation.
_DIRECT_WRITER: Final = frozenset(
    {
        "Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Celu", "Clip", "Concat", "Constant",
        "Conv", "ConvTranspose", "Cos", "DequantizeLinear", "Div", "Elu", "Erf", "Exp", "Flatten",
        "Floor", "Gather", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater",
        "GroupNormalization", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization",
        "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "MatMul", "Max", "MaxPool", "Mean", "Min",
        "Mish", "Mul", "Neg", "Pad", "Pow", "PRelu", "QuantizeLinear", "Reciprocal", "ReduceL1", "ReduceL2",
        "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape",
        "Resize", "Selu", "Shape", "Shrink", "Sigmoid", "Sign", "Sin", "Slice", "Softmax", "Softplus",
        "Softsign", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose",
        "Unsqueeze", "Where",
    }
)  # fmt: skip

# A reserve for layers that go the slow route (tf2onnx), and for members that are written by other tools.
_RESERVE: Final = frozenset(
    {
        "Acos", "Acosh", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "CastLike",
        "ConstantOfShape", "Cosh", "CumSum", "DepthToSpace", "Einsum", "Equal", "Expand", "EyeLike", "GatherElements",
        "GatherND", "GlobalLpPool", "GreaterOrEqual", "GRU", "IsInf", "IsNaN", "Less", "LessOrEqual",
        "LpNormalization", "LpPool", "LRN", "LSTM", "MeanVarianceNormalization", "Mod", "Not", "OneHot", "Or",
        "Range", "ReduceLogSum", "ReduceSumSquare", "ReverseSequence", "RMSNormalization", "RNN", "Round",
        "ScatterElements", "ScatterND", "Sinh", "Size", "SpaceToDepth", "Swish", "Tan", "ThresholdedRelu", "TopK",
        "Trilu", "Upsample", "Xor",
    }
)  # fmt: skip

OPERATORS: Final = _DIRECT_WRITER | _RESERVE
"""Names in ONNX's own domain, of any opset."""
