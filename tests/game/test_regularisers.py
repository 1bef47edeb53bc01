"""Regularisers and tricks in closed form, against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from gan_jax.game import losses, regularisers

REAL, FAKE = np.float32([2.0, -1.0, 0.5]), np.float32([-2.0, 3.0, 0.25])


def test_lecam_is_the_code_s():
    """One-sided: a real one counts above the fakes' mean, a fake one below the reals'."""
    found = regularisers.lecam(REAL, FAKE, 1.0, 0.25)
    np.testing.assert_allclose(found, [1.75**2 + 3**2, 0, 0.25**2 + 0.75**2])
    grads = jax.grad(lambda *s: regularisers.lecam(*s, 1.0, 0.25).sum(), (0, 1))(REAL, FAKE)
    np.testing.assert_allclose(grads, [[3.5, 0, 0.5], [-6, 0, -1.5]])


def test_lecam_at_rest():
    """Where all reals score a and all fakes -a, its slope is 2 * 2 a on either: D's answers are drawn together."""
    d_real, d_fake = jax.grad(lambda *s: regularisers.lecam(*s, 0.3, -0.3).sum(), (0, 1))(
        np.float32([0.3]), np.float32([-0.3])
    )
    np.testing.assert_allclose([d_real[0], d_fake[0]], [1.2, -1.2], rtol=1e-6)


def test_consistency():
    """Of a linear D, CR is (w (x - T x))^2, row by row."""
    rng = np.random.default_rng(0)
    x, moved, w = (rng.normal(size=(4, 5)).astype(np.float32) for _ in range(3))
    found = regularisers.consistency(x @ w[0], moved @ w[0])
    np.testing.assert_allclose(found, [np.dot(w[0], x[i] - moved[i]) ** 2 for i in range(4)], rtol=1e-4)


def test_apart():
    """Of G(z) = a z, zCR's term is -a^2 |dz|^2 / n: it falls as G's pictures of two latents go apart."""
    a, z, dz = 1.7, *(np.random.default_rng(seed).normal(size=(3, 2, 2, 1)) for seed in (0, 1))
    found = regularisers.apart(jnp.float32(a * z), jnp.float32(a * (z + dz)))
    np.testing.assert_allclose(found, [-(a**2) * (row**2).sum() / 4 for row in dz], rtol=1e-4)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k(k):
    """The mean over the highest-scored, traced k, ties by order; the others have no gradient."""
    score = np.float32([0.1, 3, 3, -2, 1])
    rows = np.argsort(-score, kind="stable")[:k]
    value, grad = jax.jit(jax.value_and_grad(lambda s, k: regularisers.top_k(losses.non_saturating.g(None, s), s, k)))(
        score, k
    )
    loss = np.log1p(np.exp(-score))
    np.testing.assert_allclose(value, loss[rows].mean(), rtol=1e-6)
    slope = np.where(np.isin(np.arange(5), rows), -1 / (1 + np.exp(score)) / k, 0)
    np.testing.assert_allclose(grad, slope, rtol=1e-5, atol=1e-9)


def test_top_k_schedule():
    """k falls from b by a hundredth an epoch, to the half; the paper's numbers at b = 64."""
    counts = [int(regularisers.top_k_count(64, epoch)) for epoch in (0, 1, 10, 68, 69, 1000)]
    assert counts == [64, 63, 57, 32, 32, 32]
    assert int(jax.jit(lambda e: regularisers.top_k_count(100, e, 0.5, 0.2))(2)) == 25
    assert int(regularisers.top_k_count(100, 3, 0.5, 0.2)) == 20


def test_instance_noise():
    """Its deviation falls in a straight line to 0 and stays there; x is what it is spread about."""
    x = np.full((4, 50, 50, 1), 0.3, np.float32)
    for share, expected in ((0, 0.2), (0.25, 0.15), (1, 0), (3, 0), (-1, 0.2)):
        noise = np.asarray(regularisers.instance_noise(jax.random.key(0), x, 0.2, share)) - 0.3
        assert noise.std() == pytest.approx(expected, rel=0.03, abs=1e-6) and abs(noise.mean()) < 0.01
    with jax.enable_x64(True):
        noisy = lambda step: regularisers.instance_noise(jax.random.key(0), x, 0.2, step / 3)
        assert "f64[4" not in str(jax.make_jaxpr(noisy)(jnp.int32(1)))


def test_labels():
    """Even in their ranges; a tenth of the reals have one of the fakes' labels, and the other way; all independent."""
    n = 20_000
    real, fake = (np.asarray(a) for a in regularisers.labels(jax.random.key(0), n, (0.7, 1.2), (0, 0.3), 0.1))
    for own, (low, high), (other_low, other_high) in ((real, (0.7, 1.2), (0, 0.3)), (fake, (0, 0.3), (0.7, 1.2))):
        mine = (own >= low) & (own <= high)
        assert ((own >= other_low) & (own <= other_high) != mine).all()
        assert abs(mine.mean() - 0.9) < 4 * np.sqrt(0.09 / n)
        assert oracle.chi_square_is_small(np.histogram(own[mine], 10, (low, high))[0], mine.sum() / 10)
    assert abs(np.corrcoef(real, fake)[0, 1]) < 0.03
    real, fake = regularisers.labels(jax.random.key(0), 5)
    np.testing.assert_array_equal([real, fake], [[1] * 5, [0] * 5])


def test_cross_entropy():
    """The formula, in float64 numpy; hard labels give D's usual loss; a label above 1 pushes at any score."""
    score, label = np.float64([-3, 0.2, 4, 1]), np.array([0.2, 0.7, 1.2, 0])
    sigmoid = 1 / (1 + np.exp(-score))
    expected = -label * np.log(sigmoid) - (1 - label) * np.log(1 - sigmoid)
    np.testing.assert_allclose(regularisers.cross_entropy(jnp.float32(score), jnp.float32(label)), expected, rtol=1e-5)
    hard = regularisers.cross_entropy(REAL, 1) + regularisers.cross_entropy(FAKE, 0)
    np.testing.assert_allclose(hard, losses.non_saturating.d(REAL, FAKE), rtol=1e-6)
    slope = jax.grad(regularisers.cross_entropy)(np.float32(30), 1.2)
    assert slope == pytest.approx(-0.2, abs=1e-6)
