"""The joint embedding: its loss pair by pair, its nets' published size, and that it learns and is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gan_jax.data.cache
from gan_jax import UserError, data
from gan_jax.game import rng
from gan_jax.metrics import identity
from gan_jax.metrics import joint_embedding as joint


def test_the_structured_loss_is_a_sum_over_pairs():
    """The authors' double loop, both ways, less pairs with equal captions."""
    draw = np.random.default_rng(0)
    picture, text = draw.normal(size=(2, 4, 3))
    said = jnp.array([[1, 2], [3, 0], [1, 2], [1, 0]])
    total = 0.0
    for i in range(4):
        for j in range(4):
            if i != j and (i, j) not in ((0, 2), (2, 0)):
                total += max(0, picture[i] @ text[j] - picture[i] @ text[i] + 1)  # another caption of this picture
                total += max(0, picture[j] @ text[i] - picture[i] @ text[i] + 1)  # another picture of this caption
    found = joint.structured(jnp.asarray(picture), jnp.asarray(text), joint.same(said))
    np.testing.assert_allclose(found, total / 16, rtol=1e-6)


def test_the_published_text_encoder():
    """Convolutions of 384, 512 and 256 channels, a recurrent net of 256 units, 1024 numbers; counted by hand."""
    net = joint.Text(71, 1024, 256, 3)
    params = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((2, 201), int))["params"]
    layers = 4 * 70 * 384 + 384 + 4 * 384 * 512 + 512 + 4 * 512 * 256 + 256
    assert sum(p.size for p in jax.tree.leaves(params)) == layers + 2 * (256 * 256 + 256) + 256 * 1024 + 1024


def test_padding_is_no_character_and_order_counts():
    """Whatever stands in place of padding counts; "ab" and "ba" have other vectors."""
    net = joint.Text(6, 3, 4)
    texts = jnp.array([[3, 4, 2, 0, 0, 0], [4, 3, 2, 0, 0, 0], [3, 4, 2, 5, 0, 0]])
    params = net.init(jax.random.key(1), texts)["params"]
    params["Conv_0"]["kernel"] += 0.3
    found = np.asarray(net.apply({"params": params}, texts))
    assert np.abs(found[0] - found[1]).max() > 1e-3 and np.abs(found[0] - found[2]).max() > 1e-3


@pytest.fixture
def brief(monkeypatch, tmp_path):
    monkeypatch.setattr(gan_jax.data.cache, "FOLDER", tmp_path)
    monkeypatch.setattr(joint, "_LOADED", {})
    return tmp_path


def shades(n=90):
    """Return a source of black, grey and white pictures, each with a caption of its own."""
    y = np.arange(n) % 3
    noise = np.random.default_rng(0).integers(0, 50, (n, 4, 4, 1))
    text = np.array([[3, 4, 2, 0], [4, 3, 2, 0], [4, 2, 0, 0]], np.int32)[y]
    arrays = {"x": np.uint8(noise + 100 * y[:, None, None, None]), "text": text}
    fields = {"x": data.Field((4, 4, 1), "image"), "text": data.Field((4,), "tokens", np.int32, 5)}
    pick = lambda key, i, b: data.order(rng.at(key, 0, "data"), i, b, n)
    read = lambda indices: {name: a[np.asarray(indices)] for name, a in arrays.items()}
    return data.Source("shades", fields, n, pick, read, lambda: arrays, fingerprint="shades")


@pytest.mark.long
def test_it_learns_which_caption_is_whose_and_is_kept(brief, monkeypatch):
    """Nearly all captions are found, of which a third would be by chance; again nothing is trained."""
    source = shades()
    net = joint.net(source, 8, 8, 1)
    embedding, batch = joint.load(source, net, 49), data.decode(source.whole())
    found = jax.jit(joint.found, static_argnums=0)(net, embedding.params, batch["x"], batch["text"])
    assert found > 0.9
    assert [file.name for file in (brief / "classifiers").iterdir()] == ["shades-captions-8-8-1-49-1.npz"]
    monkeypatch.setattr(joint, "_train", lambda *_: pytest.fail("trained again"))
    joint._LOADED.clear()
    jax.tree.map(np.testing.assert_array_equal, joint.load(source, net, 49).params, embedding.params)


def test_sets_without_captions():
    """Are told how to choose a caption."""
    with pytest.raises(UserError, match="digits has no pictures with captions: say which feature they are"):
        joint.net(data.load("digits"), 4, 4, 1)


def test_verified_is_the_share_of_lower_cosines():
    """Three rows counted by hand: the first beats both others, the second one of two, the third none."""
    one = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    other = jnp.array([[2.0, 0.1], [1.0, 2.0], [-1.0, 0.0]])
    near = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in np.asarray(other)] for a in np.asarray(one)]
    count = sum(near[i][i] > near[i][j] for i in range(3) for j in range(3) if i != j)
    np.testing.assert_allclose(identity.verified(one, other), count / 6)
    assert count == 4
