"""What a representation says of a label: how well a classifier does that is trained on it alone, inside jit."""

import jax
import jax.numpy as jnp
import optax

from gan_jax.game import rng
from gan_jax.metrics import labels as of_labels
from gan_jax.metrics.descent import minimised

WIDTH, STEPS, RATE, DECAY = 32, 100, 5e-3, 1.0  # of the classifier: few steps of AdamW, since rows may be few


def accuracy(key, codes, labels, test_codes, test_labels, classes: int):
    """Return the share of test rows whose label a net of one hidden layer tells from their codes [n, c].

    It is trained on other rows, whose columns it is given with mean 0 and deviation 1, and of which each has a label.
    """
    mean, std = codes.mean(0, keepdims=True), codes.std(0, keepdims=True) + 1e-6
    codes, test_codes = (codes - mean) / std, (test_codes - mean) / std
    scale = codes.shape[1] ** -0.5, WIDTH**-0.5
    sizes = (codes.shape[1], WIDTH), (WIDTH, classes)
    params = [
        (s * rng.normal(rng.at(key, i, "probe"), size), jnp.zeros(size[1]))
        for i, (s, size) in enumerate(zip(scale, sizes, strict=True))
    ]

    def logits(params, x):
        (w, b), (v, c) = params
        return jax.nn.relu(x @ w + b[None]) @ v + c[None]

    def loss(params):
        return optax.softmax_cross_entropy_with_integer_labels(logits(params, codes), labels).mean()

    params = minimised(loss, params, optax.adamw(RATE, weight_decay=DECAY), STEPS)
    return of_labels.agreement(logits(params, test_codes).argmax(1), test_labels)


def most_frequent(labels, test_labels, classes: int):
    """Return the accuracy of who always says the label that is most frequent among the training rows."""
    return of_labels.agreement(jnp.bincount(labels, length=classes).argmax(), test_labels)
