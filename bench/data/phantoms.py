"""Generated head phantoms: images for checks and timings where no real scan may be had.

In the spirit of L. A. Shepp and B. F. Logan, "The Fourier reconstruction of a head section", IEEE
Transactions on Nuclear Science 21 (1974) 21-43: a head is a sum of ellipses. Here the ellipses have soft
edges, are bent by smooth noise and are drawn at random, so that no two heads are alike and a classifier gives
different labels. They show that two programs agree; they say nothing about accuracy.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from braintumor.errors import UsageError

__all__ = ["phantoms"]

_Plane: TypeAlias = NDArray[np.float64]
"""One value a pixel, float64 [H, W]; levels and covers are 0..1."""

_SMALLEST = 16
_T1_SHARE, _LESION_SHARE, _BRIGHT_SHARE, _CORE_FROM = 0.6, 0.7, 0.7, 0.3


def phantoms(count: int, height: int, width: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Return axial head phantoms, nose up: 60 % like T1 (dark fluid), the rest like T2, 70 % with a lesion.

    Image `i` depends on the seed, `i` and the size alone, so a longer series starts with the shorter one.
    Another platform may differ by one level in a few pixels, where its `cos` or `hypot` rounds differently.

    Args:
        count: Number of images, at least 0.
        height: Rows, at least 16.
        width: Columns, at least 16.
        seed: At least 0.

    Returns:
        uint8 [count, height, width], grey levels 0..255.

    Raises:
        UsageError: The count, size or seed is too small.
    """
    if count < 0 or seed < 0 or min(height, width) < _SMALLEST:
        raise UsageError(
            f"{count} phantoms of {height} x {width} with seed {seed}; count and seed must be at least 0, both sides "
            f"at least {_SMALLEST}"
        )
    images = np.empty((count, height, width), np.uint8)
    for index in range(count):
        images[index] = _Head(np.random.default_rng([seed, index]), height, width).draw()
    return images


class _Head:
    """One phantom, and the position of each pixel in the head's own frame: -1..1, nose at y = -1."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng, self.height, self.width = rng, height, width
        angle, zoom = np.deg2rad(rng.uniform(-8, 8)), rng.uniform(0.7, 1.06)
        down, across = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
        across, down = across - rng.uniform(-0.05, 0.05), down - rng.uniform(-0.05, 0.05)
        x = (np.cos(angle) * across + np.sin(angle) * down) / (zoom * rng.uniform(0.94, 1.1))
        y = (np.cos(angle) * down - np.sin(angle) * across) / zoom
        self.x: _Plane = x + 0.02 * self._noise(4)
        self.y: _Plane = y + 0.02 * self._noise(4)

    def draw(self) -> NDArray[np.uint8]:
        """Return uint8 [H, W]: the parts from outside to inside, then the effects of a scanner."""
        uniform = self.rng.uniform
        t1 = uniform() < _T1_SHARE
        relief = uniform(0.1, 1)  # from an almost even brain to a sharp cortex
        grey, white = (0.42, 0.42 + 0.2 * relief) if t1 else (0.55, 0.55 - 0.2 * relief)
        fluid = uniform(0.05, 0.15) if t1 else uniform(0.85, 1.0)
        level: _Plane = np.zeros((self.height, self.width))
        level = _over(level, self._ellipse(0, 0, 0.74, 0.92, soft=0.02), uniform(0.6, 1.0))  # scalp
        level = _over(level, self._ellipse(0, 0, 0.69, 0.87, soft=0.03), uniform(0.02, 0.1))  # skull
        level = _over(level, self._ellipse(0, 0, 0.64, 0.82, soft=0.02), fluid)
        brain = self._ellipse(0, 0, 0.62, 0.80, soft=0.02)
        inner = self._ellipse(0, 0, 0.5, 0.67, soft=0.35)
        level = _over(level, brain, grey)
        # The zero lines of smooth noise wind like the folds of the cortex.
        folds = np.clip(1.5 * np.abs(self._noise(13)), 0, 1)
        level = _over(level, brain * np.clip(0.2 + inner, 0, 1) * folds, white)
        furrows = np.clip(1 - 5 * np.abs(self._noise(15)), 0, 1)
        level = _over(level, relief * brain * (1 - inner) * furrows, fluid)
        midline = self._ellipse(0, 0, uniform(0.006, 0.014), 0.8, soft=0.3)
        level = _over(level, midline * (1 - inner), fluid)
        for side in (-1, 1):
            level = _over(level, self._ellipse(side * 0.2, 0.02, 0.1, 0.17, soft=0.2), grey)
        level = self._with_ventricles(level, fluid)
        if uniform() < _LESION_SHARE:
            level = self._with_lesion(level, brain)
        return self._scan(level)

    def _noise(self, cells: int) -> _Plane:
        """Return smooth noise of unit variance: `cells` x `cells` random values, enlarged bicubically."""
        coarse = Image.fromarray(self.rng.standard_normal((cells, cells)).astype(np.float32))
        smooth = coarse.resize((self.width, self.height), Image.Resampling.BICUBIC)
        plane: _Plane = np.asarray(smooth).astype(np.float64)
        plane /= plane.std()
        return plane

    def _ellipse(self, x: float, y: float, a: float, b: float, *, soft: float, turn: float = 0) -> _Plane:
        """Return the cover of an ellipse at (x, y), half-axes a and b, turned by `turn` radians."""
        across, down = self.x - x, self.y - y
        u = (np.cos(turn) * across + np.sin(turn) * down) / a
        v = (np.cos(turn) * down - np.sin(turn) * across) / b
        cover: _Plane = np.clip((1 - np.hypot(u, v)) / soft + 0.5, 0, 1)
        return cover

    def _with_ventricles(self, level: _Plane, fluid: float) -> _Plane:
        size, shift = self.rng.uniform(0.6, 1.5), self.rng.uniform(-0.02, 0.02)
        for side in (-1, 1):
            front = self._ellipse(shift + side * 0.075, -0.17, 0.045 * size, 0.16, soft=0.3, turn=side * 0.3)
            rear = self._ellipse(shift + side * 0.17, 0.24, 0.04 * size, 0.16, soft=0.3, turn=-side * 0.45)
            level = _over(level, np.maximum(front, rear), fluid)
        return _over(level, self._ellipse(shift, 0.03, 0.016 * size, 0.11, soft=0.4), fluid)

    def _with_lesion(self, level: _Plane, brain: _Plane) -> _Plane:
        """Add a bright or dark mass, often with another core, and the swelling around it."""
        uniform = self.rng.uniform
        bearing, distance = uniform(0, 2 * np.pi), uniform(0.1, 0.6)
        x, y = 0.8 * distance * np.sin(bearing), -distance * np.cos(bearing)
        a, turn, core = uniform(0.06, 0.22), uniform(0, np.pi), uniform(0, 0.75)
        b = a * uniform(0.7, 1.3)
        bright = uniform() < _BRIGHT_SHARE
        tone = uniform(0.75, 1.0) if bright else uniform(0.1, 0.25)
        swelling = self._ellipse(x, y, 1.7 * a, 1.7 * b, soft=0.5, turn=turn)
        level = _over(level, 0.5 * brain * swelling, 0.3)
        level = _over(level, brain * self._ellipse(x, y, a, b, soft=0.15, turn=turn), tone)
        if core > _CORE_FROM:
            inside = self._ellipse(x, y, core * a, core * b, soft=0.2, turn=turn)
            level = _over(level, brain * inside, uniform(0.1, 0.4))
        return level

    def _scan(self, level: _Plane) -> NDArray[np.uint8]:
        """Add texture, coil shading, Rician noise (a magnitude image's own), window and blur."""
        uniform = self.rng.uniform
        real = level * (1 + 0.05 * self._noise(40)) * (1 + 0.08 * self._noise(3))
        sigma = uniform(0.002, 0.03)
        noise = sigma * self.rng.standard_normal((2, self.height, self.width))
        shown = np.hypot(real + noise[0], noise[1]) ** uniform(0.85, 1.4) * uniform(0.35, 1.1)
        levels = Image.fromarray(np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8))
        # Resampled scans are more or less smooth; sharp phantoms alone would all get the same label.
        blur = uniform(0, 2.5) * min(self.height, self.width) / 224
        return np.asarray(levels.filter(ImageFilter.GaussianBlur(blur)))


def _over(level: _Plane, cover: _Plane, value: float) -> _Plane:
    """Return `level` with `value` painted over it where `cover` is 1."""
    return level + (value - level) * cover
