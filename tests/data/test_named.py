"""Named digits: what captions say, where digits stand, what is held out, and that they read off as they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import UserError, data
from gan_jax.data import named, tokens
from gan_jax.game import rng
from gan_jax.metrics import classifier

KEY = jax.random.key(0)


def blocks(n=60, classes=10, held_out=True):
    """Return a source of n full 4x4 squares of ink, whose level says the digit: 20 + 20 y."""
    y = np.random.default_rng(1).permutation(n).astype(np.int32) % classes
    arrays = {"x": np.broadcast_to(np.uint8(20 + 20 * y)[:, None, None, None], (n, 4, 4, 1)).copy(), "y": y}
    return data.Source(
        "blocks",
        {"x": data.Field((4, 4, 1), "image"), "y": data.label(classes)},
        n=n,
        pick=lambda key, i, b: data.order(rng.at(key, 0, "data"), i, b, n),
        read=lambda indices: {k: a[indices] for k, a in arrays.items()},
        whole=lambda: arrays,
        test=blocks(31, classes, False) if held_out else None,
        fingerprint="blocks",
    )


SOURCE = named.named_digits("named", blocks())


def level(word):
    return 20 + 20 * named.WORDS.index({"sixes": "six"}.get(word, word.removesuffix("s")))


def shown(caption):
    """Return the 8x8 picture that a caption describes, by its words."""
    picture = np.zeros((8, 8), np.uint8)
    words = caption.removeprefix("an ").removeprefix("a ").replace(" an ", " ").replace(" a ", " ").split()
    if len(words) == 1:
        picture[2:6, 2:6] = level(words[0])
    elif words[0] == "two" and len(words) == 2:
        picture[2:6] = level(words[1])
    elif words[1] == "above":
        picture[:4, 2:6], picture[4:, 2:6] = level(words[0]), level(words[2])
    else:
        picture[2:6, :4], picture[2:6, 4:] = level(words[0]), level(words[3])
    return picture


def made(source, i=0, b=60):
    raw = source.read(np.asarray(source.pick(KEY, i, b)))
    return jax.tree.map(np.asarray, jax.jit(lambda raw: source.make(raw, KEY, i, b))(raw))


def words(row):
    return tokens.text(row, SOURCE.fields["text"].names)


@pytest.mark.parametrize("source", [SOURCE, SOURCE.test], ids=["train", "test"])
def test_a_picture_shows_what_its_caption_says(source):
    """Every digit in the place that the words say, nothing else; y is the caption's number, tokens are its letters."""
    batch = made(source, b=source.n)
    for x, y, row in zip(batch["x"], batch["y"], batch["text"], strict=True):
        assert words(row) == named.TEXTS[y] == source.fields["y"].names[y]
        np.testing.assert_array_equal(np.round((x[..., 0] + 1) * 127.5), shown(words(row)))


def test_captions():
    """200 different ones; 20 are held out, none of them of digits or words that are nowhere else."""
    assert len(set(named.TEXTS)) == 200 and {"an eight", "two sixes", "a three left of an eight"} < set(named.TEXTS)
    held = {named.TEXTS[k] for k in np.unique(named.NUMBERS[named.HELD])}
    assert held == {f"{a} above {b}" for a, b in pairs(3)} | {f"{a} left of {b}" for a, b in pairs(7)}
    assert {"a zero above a three", "a three left of a zero"} < held and len(held) == 20


def pairs(apart):
    a = [f"{'an' if word == 'eight' else 'a'} {word}" for word in named.WORDS]
    return [(a[i], a[(i + apart) % 10]) for i in range(10)]


def test_held_out_captions_are_the_test_split_s_alone():
    """In training none of them ever comes, and all others do; the test split has nothing else, and is always the same."""
    held = set(np.unique(named.NUMBERS[named.HELD]))
    make = jax.jit(lambda i: SOURCE.make(jax.tree.map(jnp.asarray, raw(i)), KEY, i, 60)["y"])
    raw = lambda i: {"x": jnp.zeros((60, 2, 4, 4, 1), jnp.uint8), "y": jnp.asarray(blocks().whole()["y"])[pick(i)]}
    pick = lambda i: SOURCE.pick(KEY, i, 60)
    trained = np.concatenate([np.asarray(make(i)) for i in range(60)])
    assert set(trained) == set(range(200)) - held
    assert 0.17 < (trained < 10).mean() < 0.23  # a fifth shows one digit
    whole, some = SOURCE.test.whole(), SOURCE.test.read(np.array([[7, 2]]))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[[[7, 2]]]), some, whole)
    again = jax.jit(SOURCE.test.make, static_argnums=3)(whole, jax.random.key(5), 3, 31)
    assert set(np.asarray(again["y"])) <= held and len(set(np.asarray(again["y"]))) > 15


def test_pictures_are_read_by_the_classifier_of_their_digits(monkeypatch):
    """Each is right under its own caption; under that of the next picture it is right as often as captions agree."""
    levels = 20 + 20 * jnp.arange(10).reshape(1, 1, 1, 10)
    apart = lambda x: jnp.abs((x + 1) * 127.5 - levels).max((1, 2))  # [n, 10], of every pixel
    judge = lambda x: jnp.pad(-apart(x), ((0, 0), (0, 1)), constant_values=-1)  # one more: no digit
    monkeypatch.setattr(classifier, "load", {SOURCE.judge.base: judge}.__getitem__)
    batch = made(SOURCE)
    assert SOURCE.judge.right(batch["x"], batch["y"]).all() and SOURCE.judge.classifiers == (SOURCE.judge.base,)
    other = np.roll(batch["y"], 1)
    np.testing.assert_array_equal(SOURCE.judge.right(batch["x"], other), batch["y"] == other)
    assert data.cut(SOURCE, 6).judge is None and data.masked(SOURCE).judge is SOURCE.judge


def test_what_has_no_ten_digits_is_refused():
    """Sets of other labels, and splits in which a digit is missing."""
    with pytest.raises(UserError, match="ring8 has no digits to be named"):
        named.named_digits("named", data.load("ring8"))
    with pytest.raises(UserError, match="blocks has no digits to be named"):
        named.named_digits("named", blocks(classes=9))


def test_named_digits_by_name():
    """The small digits in 16x16 pictures, offline; training batches are another for another number."""
    source = data.load("named_digits")
    assert (source.shape, source.n, source.test.n, source.classes) == ((16, 16, 1), 1497, 300, 200)
    assert source.fields["text"].shape == (25,) and source.fields["text"].classes == len(named.VOCABULARY)
    assert (made(source, b=8)["x"] != made(source, 1, 8)["x"]).any() and source.fits
