"""What users' models come as: exported by both routes, and compared with Keras.

The worker of the slow route runs in this process here; `via_keras/test_process.py` starts it as the export does.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from braintumor.bench.data.phantoms import phantoms
from braintumor.errors import BraintumorError, ModelError
from braintumor.export import member as member_module
from braintumor.export import network
from braintumor.export.from_keras.archive import open_archive
from braintumor.export.member import MemberOptions, Target, VerificationImages, build_member
from braintumor.export.network import Network
from braintumor.export.verify.compare import verify_and_ask
from braintumor.models.labels import CLASSES
from braintumor.models.spec import PREPROCESSES

Export = Callable[..., dict[str, Any]]
Refusal = Callable[..., str]
Keras = Callable[..., Path]

# Small networks with decided heads magnify float32 rounding; the backbones agree within 1e-6.
_CLOSE = 5e-6

pytestmark = pytest.mark.usefixtures("keras_in_process")


@pytest.fixture(params=["direct", "keras"])
def export(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Export:
    """Export a model by one route, verified against Keras; gives facts and figures."""
    if request.param == "keras":
        monkeypatch.setattr(network, "write_core", refuse_layer)

    compared: list[Any] = []

    def recorded(path: Path, what: Any, *others: Any) -> Any:
        compared.append(what)
        return verify_and_ask(path, what, *others)

    monkeypatch.setattr(member_module, "verify_and_ask", recorded)

    def run(model: Path, **options: Any) -> dict[str, Any]:
        paths = tuple(Path(path) for path in options.pop("images", ()))
        order = options.pop("order", options.setdefault("classes", CLASSES))
        member = MemberOptions(model, "model", 1.0, **options)
        images = VerificationImages(paths, 64)
        build_member(tmp_path, member, open_archive(model), order, Target("fp32"), images)
        figures = json.loads((tmp_path / "figures.json").read_text())
        assert figures["route"]["name"] == request.param
        assert figures["parity"]["against_keras"]
        assert max(at["max_abs_difference"] for at in figures["parity"]["by_batch"].values()) <= _CLOSE
        return {**figures, **figures["facts"], "compared": compared[-1]}

    return run


@pytest.fixture
def refusal(export: Export) -> Callable[..., str]:
    """Export a model that is refused; gives the message."""

    def run(model: Path, **options: Any) -> str:
        with pytest.raises(BraintumorError) as refused:
            export(model, **options)
        return str(refused.value)

    return run


def refuse_layer(*_: Any, **__: Any) -> Network:
    raise network.UnsupportedLayerError("any", "Any")


def save(
    folder: Path, layers: Callable[[Any], Any], shape: tuple[int | None, ...] = (24, 24, 1), **options: Any
) -> Path:
    """A small model of what `layers` makes of its input, saved."""
    import keras

    keras.utils.set_random_seed(1)
    image = keras.Input(shape, **options)
    path = folder / "model.keras"
    keras.Model(image, layers(image)).save(path)
    return path


def tail(x: Any, *, units: int = 4, activation: str | None = "softmax") -> Any:
    import keras

    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    return keras.layers.Dense(units, activation=activation)(keras.layers.GlobalAveragePooling2D()(x))


def scaled(x: Any) -> Any:
    import keras

    return keras.layers.Rescaling(1 / 127.5, offset=-1.0)(x)


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_models_are_exported(export: Export, small_keras: Keras, channels: int):
    facts = export(small_keras(channels=channels))
    assert (facts["height"], facts["width"], facts["channels"]) == (32, 32, channels)
    assert (facts["preprocess"], facts["softmax_added"], facts["policy"]) == ("none", False, "float32")
    assert facts["architecture"] == "small"


def test_a_model_of_any_size_takes_the_size_that_was_chosen(export: Export, small_keras: Keras):
    facts = export(small_keras(size=(None, None)), size=(40, 36))
    assert (facts["height"], facts["width"]) == (40, 36)


def test_a_model_of_any_size_asks_for_one(refusal: Refusal, small_keras: Keras):
    assert "`size='224x224'`" in refusal(small_keras(size=(None, None)))


def test_a_size_that_the_model_has_anyway_may_be_named(export: Export, small_keras: Keras):
    assert export(small_keras(), size=(32, 32))["height"] == 32


def test_a_size_that_does_not_fit_is_refused(refusal: Refusal, small_keras: Keras):
    assert "takes 32x32 pixels, not 64x64" in refusal(small_keras(), size=(64, 64))


def test_a_model_with_one_free_side_takes_its_size(export: Export, tmp_path: Path):
    model = save(tmp_path, lambda x: tail(scaled(x)), (None, 24, 1))
    assert export(model, size=(30, 24))["height"] == 30


@pytest.mark.parametrize("classes", [3, 10])
def test_another_number_of_classes_than_was_named_is_refused(refusal: Refusal, small_keras: Keras, classes: int):
    assert f"gives {classes} values an image, and `classes` lists 4" in refusal(small_keras(classes=classes))


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("head", ["softmax", "logits"])
def test_any_number_of_classes_is_exported(export: Export, small_keras: Keras, classes: int, head: str):
    names = tuple(f"c{number}" for number in range(classes))
    facts = export(small_keras(classes=classes, head=head), classes=names)
    assert facts["compared"].probabilities.shape == (64, classes)
    assert len(facts["probe"]["probabilities"][0]) == classes


@pytest.mark.parametrize("activation", ["sigmoid", None])
@pytest.mark.parametrize("order", [("healthy", "glioma"), ("glioma", "healthy")])
def test_one_unit_is_the_probability_of_the_second_of_two_classes(
    export: Export, tmp_path: Path, activation: str | None, order: tuple[str, str]
):
    import keras

    path = save(tmp_path, lambda x: tail(scaled(x), units=1, activation=activation))
    facts = export(path, classes=("healthy", "glioma"), order=order)
    assert facts["softmax_added"] is (activation is None)
    found = np.asarray(keras.saving.load_model(path)(facts["compared"].images[..., np.newaxis].astype(np.float32)))
    if activation is None:
        found = 1 / (1 + np.exp(-found))
    np.testing.assert_allclose(facts["compared"].probabilities[:, order.index("glioma")], found[:, 0], atol=1e-6)
    np.testing.assert_allclose(facts["compared"].probabilities.sum(axis=1), 1, atol=1e-6)


def test_one_unit_of_another_kind_is_refused(refusal: Refusal, tmp_path: Path):
    model = save(tmp_path, lambda x: tail(scaled(x), units=1, activation="relu"))
    assert "neither a sigmoid nor linear but relu" in refusal(model, classes=("healthy", "glioma"))


def test_a_regression_model_is_refused(refusal: Refusal, tmp_path: Path):
    model = save(tmp_path, lambda x: tail(scaled(x), units=1, activation=None))
    message = refusal(model, classes_stated=False)
    assert "gives 1 value an image" in message
    assert "with `classes`, last the one that 1 stands for" in message


def test_a_segmentation_model_is_refused(refusal: Refusal, tmp_path: Path):
    import keras

    model = save(tmp_path, lambda x: keras.layers.Conv2D(4, 1, activation="softmax")(scaled(x)))
    assert "(None, 24, 24, 4)" in refusal(model)


def test_two_outputs_are_refused(refusal: Refusal, tmp_path: Path):
    model = save(tmp_path, lambda x: [tail(scaled(x)), tail(scaled(x), units=2)])
    assert "it has 2 outputs, the first of shape (None, 4)" in refusal(model)


def test_two_inputs_are_refused(refusal: Refusal, tmp_path: Path):
    import keras

    images = [keras.Input((24, 24, 1)), keras.Input((24, 24, 1))]
    path = tmp_path / "two.keras"
    keras.Model(images, tail(scaled(keras.layers.Concatenate()(images)))).save(path)
    assert "the model takes (None, 24, 24, 1), (None, 24, 24, 1)" in refusal(path)


def test_a_model_of_tables_is_refused(refusal: Refusal, tmp_path: Path):
    import keras

    model = save(tmp_path, keras.layers.Dense(4, activation="softmax"), (30,))
    assert "the model takes (None, 30)" in refusal(model)


@pytest.mark.parametrize("shape", [(1, 24, 24), (3, 24, 24), (24, 24, 4)])
def test_channels_first_and_other_channel_counts_are_refused(
    refusal: Refusal, tmp_path: Path, shape: tuple[int, ...]
):
    import keras

    model = save(tmp_path, lambda x: keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(x)), shape)
    assert f"its input must be one image [batch, height, width, 1 or 3]; the model takes {shape}" in (refusal(model))


def test_a_sigmoid_head_is_refused(refusal: Refusal, small_keras: Keras):
    assert "independent sigmoids" in refusal(small_keras(head="sigmoid"))


def test_logits_are_told_from_probabilities_and_get_a_softmax(export: Export, small_keras: Keras):
    assert export(small_keras(head="logits"))["softmax_added"]


def small_logits(x: Any, **options: Any) -> Any:
    """Logits that stay in 0..1, as those of a weak model may."""
    import keras

    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x))
    return keras.layers.Dense(
        4, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(0.4), **options
    )(x)


def test_logits_that_happen_to_lie_in_0_to_1_are_logits(export: Export, tmp_path: Path):
    assert export(save(tmp_path, lambda x: small_logits(scaled(x))))["softmax_added"]


def test_logits_behind_what_only_passes_on_are_logits(export: Export, tmp_path: Path):
    import keras

    layers = keras.layers
    passed = save(
        tmp_path, lambda x: layers.Activation("linear", dtype="float32")(layers.Dropout(0.1)(small_logits(scaled(x))))
    )
    assert export(passed)["softmax_added"]


def test_the_last_layer_of_a_nested_model_is_asked(export: Export, tmp_path: Path):
    import keras

    image = keras.Input((24, 24, 1))
    inner = keras.Model(image, small_logits(scaled(image)))
    assert export(save(tmp_path, inner))["softmax_added"]


@pytest.mark.parametrize("apart", [False, True])
def test_probabilities_behind_what_only_passes_on_stay_probabilities(export: Export, tmp_path: Path, apart: bool):
    import keras

    layers = keras.layers

    def head(x: Any) -> Any:
        found = layers.Softmax()(tail(scaled(x), activation=None)) if apart else tail(scaled(x))
        return layers.Activation("linear", dtype="float32")(found)

    assert not export(save(tmp_path, head))["softmax_added"]


def test_sigmoids_that_happen_to_sum_to_1_are_refused(refusal: Refusal, tmp_path: Path):
    import keras

    def head(x: Any) -> Any:
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(scaled(x)))
        bias = keras.initializers.Constant(float(np.log(1 / 3)))
        return keras.layers.Dense(4, kernel_initializer="zeros", bias_initializer=bias, activation="sigmoid")(x)

    assert "independent sigmoids" in refusal(save(tmp_path, head))


def test_values_of_an_unknown_kind_in_0_to_1_are_refused(refusal: Refusal, tmp_path: Path):
    model = save(tmp_path, lambda x: small_logits(scaled(x), activation="relu") * 0.5)
    assert "its last layer is neither a softmax nor linear" in refusal(model)


def test_a_model_that_gives_nan_in_keras_is_refused(refusal: Refusal, tmp_path: Path):
    import keras

    path = save(tmp_path, lambda x: tail(scaled(x), activation=None))
    model = keras.saving.load_model(path)
    model.layers[-1].bias.assign([3e38, 0, 0, 0])
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 1e38)
    model.layers[-3].kernel.assign(model.layers[-3].kernel * 1e38)
    model.save(path)
    assert "NaN or infinite outputs" in refusal(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_told_as_such_whatever_becomes_of_them(
    refusal: Refusal, tmp_path: Path, value: float
):
    import keras

    path = save(tmp_path, lambda x: tail(scaled(x)))
    model = keras.saving.load_model(path)
    kernel = np.array(model.layers[2].kernel)
    # A convolution's: ReLU and pooling may swallow its NaN in Keras, and not in another engine.
    kernel.flat[0] = value
    model.layers[2].kernel.assign(kernel)
    model.save(path)
    message = refusal(path)
    assert "the model itself answers NaN" in message
    assert "/kernel, 1 of 4 in all" in message


def test_a_model_without_scaling_says_which_option_to_give(refusal: Refusal, small_keras: Keras):
    message = refusal(small_keras(scaling=False))
    assert all(f"{mode} (" in message for mode in PREPROCESSES)
    assert "The verification cannot notice a wrong choice" in message
    assert "bt-bench accuracy" in message


@pytest.mark.parametrize(
    ("channels", "mode"), [(1, "unit"), (1, "tf"), *((3, mode) for mode in PREPROCESSES if mode != "none")]
)
def test_declared_scaling_is_that_of_keras(export: Export, small_keras: Keras, channels: int, mode: str):
    facts = export(small_keras(scaling=False, channels=channels), preprocess=mode)
    assert facts["preprocess"] == mode


def test_scaling_inside_may_be_stated(export: Export, small_keras: Keras):
    assert export(small_keras(), preprocess="none")["preprocess"] == "none"


@pytest.mark.parametrize("mode", ["torch", "caffe"])
def test_scaling_of_three_colours_is_refused_for_one_grey_channel(refusal: Refusal, small_keras: Keras, mode: str):
    assert f"`preprocess='{mode}'` scales three" in refusal(small_keras(scaling=False), preprocess=mode)


@pytest.mark.parametrize("first", ["Rescaling", "BatchNormalization", "Normalization"])
def test_the_layer_that_is_taken_for_the_scaling_is_named(export: Export, tmp_path: Path, first: str):
    import keras

    options = {"Rescaling": (1 / 255,), "Normalization": (-1, [100.0], [2500.0])}.get(first, ())
    model = save(tmp_path, lambda x: tail(getattr(keras.layers, first)(*options, name="first")(x)))
    assert export(model)["scaled_by"] == "first"


@pytest.mark.parametrize("mode", ["unit", "tf"])
def test_scaling_of_whole_numbers_is_refused(refusal: Refusal, tmp_path: Path, mode: str):
    model = save(tmp_path, lambda x: tail(scaled(x)), dtype="uint8")
    assert "takes uint8 pixels" in refusal(model, preprocess=mode)


def test_a_model_trained_on_0_to_1_answers_as_its_user_asks_it(export: Export, small_keras: Keras):
    import keras

    path = small_keras(scaling=False)
    compared = export(path, preprocess="unit")["compared"]
    pixels = compared.images[..., np.newaxis] / np.float32(255)
    by_hand = keras.saving.load_model(path).predict(pixels, verbose=0)
    np.testing.assert_allclose(compared.probabilities, by_hand, atol=1e-6)


@pytest.mark.parametrize("mode", ["mobilenet_v2", "densenet", "resnet50"])
def test_scaling_by_keras_own_function_inside_the_model_is_recognised(export: Export, tmp_path: Path, mode: str):
    import keras

    preprocess_input = getattr(keras.applications, mode).preprocess_input
    assert export(save(tmp_path, lambda x: tail(preprocess_input(x)), (24, 24, 3)))["preprocess"] == "none"


def test_a_normalization_layer_keeps_its_constants(export: Export, tmp_path: Path):
    import keras

    normalize = keras.layers.Normalization(mean=[120.0, 115.0, 100.0], variance=[3400.0, 3200.0, 3300.0])
    assert export(save(tmp_path, lambda x: tail(normalize(x)), (24, 24, 3)))["preprocess"] == "none"


def test_scaling_by_arithmetic_inside_the_model_is_recognised(export: Export, tmp_path: Path):
    assert export(save(tmp_path, lambda x: tail(x / 127.5 - 1)))["preprocess"] == "none"


def test_a_sequential_around_a_backbone_is_exported(export: Export, tmp_path: Path):
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    image = keras.Input((24, 24, 3))
    backbone = keras.Model(image, layers.Conv2D(8, 3, activation="relu")(scaled(image)))
    path = tmp_path / "sequential.keras"
    head = [layers.GlobalAveragePooling2D(), layers.Dropout(0.5), layers.Dense(4, activation="softmax")]
    keras.Sequential([keras.Input((24, 24, 3)), backbone, *head]).save(path)
    assert export(path)["channels"] == 3


def test_a_model_nested_in_a_model_is_exported(export: Export, tmp_path: Path):
    import keras

    inner_image = keras.Input((24, 24, 1))
    inner = keras.Model(inner_image, keras.layers.Conv2D(8, 3, activation="relu")(scaled(inner_image)))
    assert not export(save(tmp_path, lambda x: tail(inner(x))))["softmax_added"]


def test_a_sequential_that_was_never_built_is_refused(refusal: Refusal, tmp_path: Path):
    import keras

    path = tmp_path / "unbuilt.keras"
    with pytest.warns(UserWarning, match="has not yet been built"):
        keras.Sequential([keras.layers.Dense(4, activation="softmax")]).save(path)
    assert "saved before it was built" in refusal(path)


def test_an_output_with_a_name_of_its_own_is_exported(export: Export, tmp_path: Path):
    assert export(save(tmp_path, lambda x: {"diagnosis": tail(scaled(x))}))["parameters"] > 0


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_model_trained_in_mixed_precision_is_computed_in_float32(export: Export, tmp_path: Path, policy: str):
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = save(tmp_path, lambda x: tail(scaled(x)))
    finally:
        keras.config.set_dtype_policy(before)
    facts = export(model)
    assert facts["policy"] == policy
    assert facts["compared"].probabilities.sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_weights_in_half_precision_are_refused(refusal: Refusal, tmp_path: Path):
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float16")
    try:
        model = save(tmp_path, lambda x: tail(scaled(x)))
    finally:
        keras.config.set_dtype_policy(before)
    assert "keeps its weights in float16" in refusal(model)


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int32"])
def test_inputs_of_other_types_are_exported(export: Export, tmp_path: Path, dtype: str):
    assert export(save(tmp_path, lambda x: tail(scaled(x)), dtype=dtype))["preprocess"] == "none"


def test_a_loss_of_the_users_own_is_no_obstacle(export: Export, tmp_path: Path):
    import keras

    path = save(tmp_path, lambda x: tail(scaled(x)))
    model = keras.saving.load_model(path)

    def focal(truth: Any, guess: Any) -> Any:
        return keras.ops.mean((truth - guess) ** 2)

    model.compile("adam", loss=focal)
    model.save(path)
    assert export(path)["height"] == 24


def test_a_file_of_keras_2_that_keras_3_does_not_load_is_exported_and_said_to_be_unverified(tmp_path: Path):
    model = Path(__file__).parent / "from_keras" / "data" / "keras2.h5"
    member = MemberOptions(model, "model", 1.0, CLASSES)
    build_member(tmp_path, member, open_archive(model), CLASSES, Target("fp32"), VerificationImages((), 64))
    parity = json.loads((tmp_path / "figures.json").read_text())["parity"]
    assert not parity["against_keras"]
    assert parity["missing"].startswith("saved by Keras 2.21.0, keras2.h5 does not load in Keras 3.")


def test_a_layer_that_neither_way_knows_is_named_with_the_keras_that_saved_it(tmp_path: Path):
    model = tmp_path / "odd.h5"
    shutil.copy(Path(__file__).parent / "from_keras" / "data" / "keras2.h5", model)
    with h5py.File(model, "r+") as file:
        config = file.attrs["model_config"].replace('"SeparableConv2D"', '"TFOpLambda"')
        file.attrs["model_config"] = config
    member = MemberOptions(model, "model", 1.0, CLASSES)
    with pytest.raises(
        ModelError, match=r"\(of Keras 2\.21\.0\).*'back/sep' \(TFOpLambda\).*does not load in Keras 3"
    ):
        build_member(tmp_path, member, open_archive(model), CLASSES, Target("fp32"), VerificationImages((), 64))


def test_an_image_smaller_than_a_phantom_can_be_is_refused_in_words(refusal: Refusal, tmp_path: Path):
    model = save(tmp_path, lambda x: tail(scaled(x)), (8, 8, 1))
    assert "8 x 8" in refusal(model)


@pytest.mark.parametrize("method", ["antialias", "tf-bilinear", "nearest"])
def test_given_images_are_what_both_sides_are_asked(export: Export, small_keras: Keras, tmp_path: Path, method: Any):
    from braintumor.runtime.image.decode import read_grey, resize

    paths = []
    for index, pixels in enumerate(phantoms(64, 90, 70, seed=5)):
        paths.append(str(tmp_path / f"{index}.png"))
        Image.fromarray(pixels).save(paths[-1])
    compared = export(small_keras(), images=paths, resize=method)["compared"]
    expected = [resize(read_grey(path).pixels, 32, 32, method) for path in paths]
    np.testing.assert_array_equal(compared.images, expected)


def test_an_unreadable_image_is_named(refusal: Refusal, small_keras: Keras, tmp_path: Path):
    bad = tmp_path / "torn.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "torn.png" in refusal(small_keras(), images=[str(bad)])
