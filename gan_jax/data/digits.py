"""The 8x8 handwritten digits that scikit-learn ships, as a TFDS set that prepares offline and without TensorFlow.

Optical Recognition of Handwritten Digits, Alpaydin and Kaynak 1998, UCI (CC BY 4.0): 1797 pictures, 10 classes.
"""

import numpy as np
import tensorflow_datasets as tfds


class Digits(tfds.core.GeneratorBasedBuilder):
    """digits/1.1.0: image uint8 [8, 8, 1] (0 is paper, 255 is ink), label 0..9; train 1497, test the last 300."""

    VERSION = tfds.core.Version("1.1.0")
    pkg_dir_path = None  # no metadata files: all is said below

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            homepage="https://archive.ics.uci.edu/dataset/80",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
        )

    def _split_generators(self, _):
        return {"train": self._generate_examples(slice(0, -300)), "test": self._generate_examples(slice(-300, None))}

    def _generate_examples(self, rows):
        from sklearn.datasets import load_digits

        digits = load_digits()
        for i, (image, label) in enumerate(zip(digits.images[rows], digits.target[rows], strict=True)):
            yield i, {"image": np.round(image[..., None] * (255 / 16)).astype(np.uint8), "label": int(label)}
