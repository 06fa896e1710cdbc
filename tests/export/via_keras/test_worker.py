"""What users' models come as, served by the worker, framed, and compared with Keras.

The worker runs in this process here; `test_conversion.py` starts it as the export does.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from braintumor.bench.phantoms import phantoms
from braintumor.export.frame import Frame, framed
from braintumor.export.simplify import simplified
from braintumor.export.verify import verify
from braintumor.export.via_keras.worker import CORE, IMAGES, REFERENCE
from braintumor.models.spec import PREPROCESSES

Worker = Callable[..., dict[str, Any]]
Keras = Callable[..., Path]


@pytest.fixture
def served(worker: Worker, tmp_path: Path) -> Worker:
    """Serve a request, and prove that the framed result answers what Keras answered."""

    def serve(model: Path, **options: Any) -> dict[str, Any]:
        facts = worker(model, **options)
        assert "error" not in facts, facts["error"]
        frame = Frame(
            facts["height"], facts["width"], facts["channels"], facts["preprocess"], facts["logits"], (0, 1, 2, 3)
        )
        path = tmp_path / "framed.onnx"
        onnx.save(framed(simplified(onnx.load(tmp_path / CORE)), frame), path)
        reference = np.load(tmp_path / REFERENCE)
        np.testing.assert_allclose(reference.sum(axis=1), 1, atol=1e-5)
        verify(path, np.load(tmp_path / IMAGES), reference, "fp32", kind="phantoms")
        return facts

    return serve


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
def test_grey_and_colour_models_are_served(served: Worker, small_keras: Keras, channels: int):
    facts = served(small_keras(channels=channels))
    assert (facts["height"], facts["width"], facts["channels"]) == (32, 32, channels)
    assert (facts["preprocess"], facts["logits"], facts["policy"]) == ("none", False, "float32")
    assert facts["architecture"] == "small"


def test_a_model_of_any_size_takes_the_size_that_was_chosen(served: Worker, small_keras: Keras):
    facts = served(small_keras(size=(None, None)), size=[40, 36])
    assert (facts["height"], facts["width"]) == (40, 36)


def test_a_model_of_any_size_asks_for_one(worker: Worker, small_keras: Keras):
    assert "--size 224x224" in worker(small_keras(size=(None, None)))["error"]


def test_a_size_that_the_model_has_anyway_may_be_named(served: Worker, small_keras: Keras):
    assert served(small_keras(), size=[32, 32])["height"] == 32


def test_a_size_that_does_not_fit_is_refused(worker: Worker, small_keras: Keras):
    assert "takes 32x32 pixels; --size 64x64 does not fit" in worker(small_keras(), size=[64, 64])["error"]


def test_a_model_with_one_free_side_takes_its_size(served: Worker, tmp_path: Path):
    model = save(tmp_path, lambda x: tail(scaled(x)), (None, 24, 1))
    assert served(model, size=[30, 24])["height"] == 30


@pytest.mark.parametrize("classes", [3, 10])
def test_another_number_of_classes_is_refused_with_the_shapes(worker: Worker, small_keras: Keras, classes: int):
    assert f"its output is (None, {classes}), needed is (batch, 4)" in worker(small_keras(classes=classes))["error"]


def test_a_regression_model_is_refused(worker: Worker, tmp_path: Path):
    model = save(tmp_path, lambda x: tail(scaled(x), units=1, activation=None))
    assert "no classifier of 4 classes: its output is (None, 1)" in worker(model)["error"]


def test_a_segmentation_model_is_refused(worker: Worker, tmp_path: Path):
    import keras

    model = save(tmp_path, lambda x: keras.layers.Conv2D(4, 1, activation="softmax")(scaled(x)))
    assert "its output is (None, 24, 24, 4)" in worker(model)["error"]


def test_two_outputs_are_refused(worker: Worker, tmp_path: Path):
    model = save(tmp_path, lambda x: [tail(scaled(x)), tail(scaled(x), units=2)])
    assert "(None, 4) and (None, 2)" in worker(model)["error"]


def test_two_inputs_are_refused(worker: Worker, tmp_path: Path):
    import keras

    images = [keras.Input((24, 24, 1)), keras.Input((24, 24, 1))]
    path = tmp_path / "two.keras"
    keras.Model(images, tail(scaled(keras.layers.Concatenate()(images)))).save(path)
    assert "the model takes (None, 24, 24, 1), (None, 24, 24, 1)" in worker(path)["error"]


def test_a_model_of_tables_is_refused(worker: Worker, tmp_path: Path):
    import keras

    model = save(tmp_path, keras.layers.Dense(4, activation="softmax"), (30,))
    assert "the model takes (None, 30)" in worker(model)["error"]


@pytest.mark.parametrize("shape", [(1, 24, 24), (3, 24, 24), (24, 24, 4)])
def test_channels_first_and_other_channel_counts_are_refused(worker: Worker, tmp_path: Path, shape: tuple[int, ...]):
    import keras

    model = save(tmp_path, lambda x: keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(x)), shape)
    assert (
        f"allowed is one image [batch, height, width, 1 or 3] as input; the model takes {shape}"
        in (worker(model)["error"])
    )


def test_a_sigmoid_head_is_refused(worker: Worker, small_keras: Keras):
    assert "independent sigmoids" in worker(small_keras(head="sigmoid"))["error"]


def test_logits_are_told_from_probabilities_and_get_a_softmax(served: Worker, small_keras: Keras):
    assert served(small_keras(head="logits"))["logits"]


def small_logits(x: Any, **options: Any) -> Any:
    """Logits that stay in 0..1, as those of a weak model may."""
    import keras

    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x))
    return keras.layers.Dense(
        4, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(0.4), **options
    )(x)


def test_logits_that_happen_to_lie_in_0_to_1_are_logits(served: Worker, tmp_path: Path):
    assert served(save(tmp_path, lambda x: small_logits(scaled(x))))["logits"]


def test_logits_behind_what_only_passes_on_are_logits(served: Worker, tmp_path: Path):
    import keras

    layers = keras.layers
    passed = save(
        tmp_path, lambda x: layers.Activation("linear", dtype="float32")(layers.Dropout(0.1)(small_logits(scaled(x))))
    )
    assert served(passed)["logits"]


def test_the_last_layer_of_a_nested_model_is_asked(served: Worker, tmp_path: Path):
    import keras

    image = keras.Input((24, 24, 1))
    inner = keras.Model(image, small_logits(scaled(image)))
    assert served(save(tmp_path, inner))["logits"]


@pytest.mark.parametrize("apart", [False, True])
def test_probabilities_behind_what_only_passes_on_stay_probabilities(served: Worker, tmp_path: Path, apart: bool):
    import keras

    layers = keras.layers

    def head(x: Any) -> Any:
        found = layers.Softmax()(tail(scaled(x), activation=None)) if apart else tail(scaled(x))
        return layers.Activation("linear", dtype="float32")(found)

    assert not served(save(tmp_path, head))["logits"]


def test_sigmoids_that_happen_to_sum_to_1_are_refused(worker: Worker, tmp_path: Path):
    import keras

    def head(x: Any) -> Any:
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(scaled(x)))
        bias = keras.initializers.Constant(float(np.log(1 / 3)))
        return keras.layers.Dense(4, kernel_initializer="zeros", bias_initializer=bias, activation="sigmoid")(x)

    assert "independent sigmoids" in worker(save(tmp_path, head))["error"]


def test_values_of_an_unknown_kind_in_0_to_1_are_refused(worker: Worker, tmp_path: Path):
    model = save(tmp_path, lambda x: small_logits(scaled(x), activation="relu") * 0.5)
    assert "its last layer tells neither a softmax nor logits" in worker(model)["error"]


def test_a_model_that_gives_nan_in_keras_is_refused(worker: Worker, tmp_path: Path):
    import keras

    path = save(tmp_path, lambda x: tail(scaled(x), activation=None))
    model = keras.saving.load_model(path)
    model.layers[-1].bias.assign([3e38, 0, 0, 0])
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 1e38)
    model.layers[-3].kernel.assign(model.layers[-3].kernel * 1e38)
    model.save(path)
    assert "NaN or infinite outputs" in worker(path)["error"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_told_as_such_whatever_becomes_of_them(
    worker: Worker, tmp_path: Path, value: float
):
    import keras

    path = save(tmp_path, lambda x: tail(scaled(x)))
    model = keras.saving.load_model(path)
    kernel = np.array(model.layers[2].kernel)
    # A convolution's: ReLU and pooling may swallow its NaN in Keras, and not in another engine.
    kernel.flat[0] = value
    model.layers[2].kernel.assign(kernel)
    model.save(path)
    message = worker(path)["error"]
    assert "the model itself answers NaN" in message
    assert "/kernel, 1 of 4 in all" in message


def test_a_model_without_scaling_says_which_option_to_give(worker: Worker, small_keras: Keras):
    message = worker(small_keras(scaling=False))["error"]
    assert all(f"--preprocess {mode}" in message for mode in PREPROCESSES)
    assert "The verification cannot notice a wrong choice" in message
    assert "bt-bench accuracy" in message


@pytest.mark.parametrize(
    ("channels", "mode"), [(1, "unit"), (1, "tf"), (1, "none"), *itertools.product([3], PREPROCESSES)]
)
def test_declared_scaling_is_that_of_keras(served: Worker, small_keras: Keras, channels: int, mode: str):
    facts = served(small_keras(scaling=False, channels=channels), preprocess=mode)
    assert facts["preprocess"] == mode


def test_torch_scaling_of_one_grey_channel_is_refused(worker: Worker, small_keras: Keras):
    assert "takes one grey channel" in worker(small_keras(scaling=False), preprocess="torch")["error"]


@pytest.mark.parametrize("mode", ["unit", "tf"])
def test_scaling_of_whole_numbers_is_refused(worker: Worker, tmp_path: Path, mode: str):
    model = save(tmp_path, lambda x: tail(scaled(x)), dtype="uint8")
    assert "takes uint8 pixels" in worker(model, preprocess=mode)["error"]


def test_a_model_trained_on_0_to_1_answers_as_its_user_asks_it(served: Worker, small_keras: Keras, tmp_path: Path):
    import keras

    path = small_keras(scaling=False)
    served(path, preprocess="unit")
    pixels = np.load(tmp_path / IMAGES)[..., np.newaxis] / np.float32(255)
    by_hand = keras.saving.load_model(path).predict(pixels, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / REFERENCE), by_hand, atol=1e-6)


@pytest.mark.parametrize("mode", ["mobilenet_v2", "densenet", "resnet50"])
def test_scaling_by_keras_own_function_inside_the_model_is_recognised(served: Worker, tmp_path: Path, mode: str):
    import keras

    preprocess_input = getattr(keras.applications, mode).preprocess_input
    assert served(save(tmp_path, lambda x: tail(preprocess_input(x)), (24, 24, 3)))["preprocess"] == "none"


def test_a_normalization_layer_keeps_its_constants(served: Worker, tmp_path: Path):
    import keras

    normalize = keras.layers.Normalization(mean=[120.0, 115.0, 100.0], variance=[3400.0, 3200.0, 3300.0])
    assert served(save(tmp_path, lambda x: tail(normalize(x)), (24, 24, 3)))["preprocess"] == "none"


def test_scaling_by_arithmetic_inside_the_model_is_recognised(served: Worker, tmp_path: Path):
    assert served(save(tmp_path, lambda x: tail(x / 127.5 - 1)))["preprocess"] == "none"


def test_a_sequential_around_a_backbone_is_served(served: Worker, tmp_path: Path):
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    image = keras.Input((24, 24, 3))
    backbone = keras.Model(image, layers.Conv2D(8, 3, activation="relu")(scaled(image)))
    path = tmp_path / "sequential.keras"
    head = [layers.GlobalAveragePooling2D(), layers.Dropout(0.5), layers.Dense(4, activation="softmax")]
    keras.Sequential([keras.Input((24, 24, 3)), backbone, *head]).save(path)
    assert served(path)["channels"] == 3


def test_a_model_nested_in_a_model_is_served(served: Worker, tmp_path: Path):
    import keras

    inner_image = keras.Input((24, 24, 1))
    inner = keras.Model(inner_image, keras.layers.Conv2D(8, 3, activation="relu")(scaled(inner_image)))
    assert not served(save(tmp_path, lambda x: tail(inner(x))))["logits"]


def test_a_sequential_that_was_never_built_is_refused(worker: Worker, tmp_path: Path):
    import keras

    path = tmp_path / "unbuilt.keras"
    with pytest.warns(UserWarning, match="has not yet been built"):
        keras.Sequential([keras.layers.Dense(4, activation="softmax")]).save(path)
    assert "saved before it was built" in worker(path)["error"]


def test_an_output_with_a_name_of_its_own_is_served(served: Worker, tmp_path: Path):
    assert served(save(tmp_path, lambda x: {"diagnosis": tail(scaled(x))}))["parameters"] > 0


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_model_trained_in_mixed_precision_is_computed_in_float32(served: Worker, tmp_path: Path, policy: str):
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = save(tmp_path, lambda x: tail(scaled(x)))
    finally:
        keras.config.set_dtype_policy(before)
    assert served(model)["policy"] == policy
    assert np.load(tmp_path / REFERENCE).sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_weights_in_half_precision_are_refused(worker: Worker, tmp_path: Path):
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float16")
    try:
        model = save(tmp_path, lambda x: tail(scaled(x)))
    finally:
        keras.config.set_dtype_policy(before)
    assert "keeps its weights in float16" in worker(model)["error"]


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int32"])
def test_inputs_of_other_types_are_served(served: Worker, tmp_path: Path, dtype: str):
    assert served(save(tmp_path, lambda x: tail(scaled(x)), dtype=dtype))["preprocess"] == "none"


def test_a_loss_of_the_users_own_is_no_obstacle(served: Worker, tmp_path: Path):
    import keras

    path = save(tmp_path, lambda x: tail(scaled(x)))
    model = keras.saving.load_model(path)

    def focal(truth: Any, guess: Any) -> Any:
        return keras.ops.mean((truth - guess) ** 2)

    model.compile("adam", loss=focal)
    model.save(path)
    assert served(path)["height"] == 24


def test_an_image_smaller_than_a_phantom_can_be_is_refused_in_words(worker: Worker, tmp_path: Path):
    model = save(tmp_path, lambda x: tail(scaled(x)), (8, 8, 1))
    assert "8 x 8" in worker(model)["error"]


@pytest.mark.parametrize("method", ["antialias", "tf-bilinear"])
def test_given_images_are_what_both_sides_are_asked(served: Worker, small_keras: Keras, tmp_path: Path, method: Any):
    from braintumor.runtime.image import read_grey, resize

    paths = []
    for index, pixels in enumerate(phantoms(64, 90, 70, seed=5)):
        paths.append(str(tmp_path / f"{index}.png"))
        Image.fromarray(pixels).save(paths[-1])
    served(small_keras(), images=paths, resize=method)
    expected = [resize(read_grey(path).pixels, 32, 32, method) for path in paths]
    np.testing.assert_array_equal(np.load(tmp_path / IMAGES), expected)


def test_an_unreadable_image_is_named(worker: Worker, small_keras: Keras, tmp_path: Path):
    bad = tmp_path / "torn.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "torn.png" in worker(small_keras(), images=[str(bad)])["error"]
