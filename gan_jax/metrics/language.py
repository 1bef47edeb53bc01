"""Of strings of a finite language, all of which are known: which are in it, how probable, what a model makes of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data.tokens import PAD


class Language(NamedTuple):
    """A finite language. Its strings differ; they end, and are padded, as samples of them must be, too."""

    strings: np.ndarray  # all of them, as tokens [m, t]
    log_p: np.ndarray  # the logarithm of the probability of each [m]

    @property
    def entropy(self) -> float:
        """The entropy in nats: minus the mean log-probability of the language's own samples."""
        return float(-(np.exp(self.log_p) * self.log_p).sum())

    def find(self, x: jax.Array) -> jax.Array:
        """Return which string each of x [n, t] is, bool [n, m]; of what is not in the language all are False."""
        return jax.lax.map(lambda one: (one[None] == self.strings).all(1), x, batch_size=256)

    def log_likelihood(self, x: jax.Array) -> jax.Array:
        """Return the log-probability of x [n, t] under the language, float32 [n]; of what is not in it, -inf."""
        return jnp.where(self.find(x), jnp.float32(self.log_p)[None], -jnp.inf).max(1)

    def of_model(self, log_g: jax.Array) -> dict[str, jax.Array]:
        """Return {"mass", "kl"} of a model's log-probabilities [m] of all strings: no samples, no error.

        mass: the probability that the model gives to the language, which is that a sample of it is accepted. kl: the
        Kullback-Leibler divergence from language to model, in nats a string, which likelihood minimises.
        """
        log_p = self.log_p.astype(log_g.dtype)
        return {"mass": jnp.exp(log_g).sum(), "kl": (jnp.exp(log_p) * (log_p - log_g)).sum()}

    def of_samples(self, x: jax.Array, known: jax.Array) -> dict[str, jax.Array]:
        """Return what there is to say of samples x [n, t] beside the strings `known` [k, t], of training.

        accepted: the share that is in the language; log_p: the mean log-probability of the accepted ones under it;
        different: how many of its strings come; new: the share of the accepted ones that are none of the known;
        lengths: the total variation distance from the language's lengths, 0 for equal shares, 1 for none in common.
        """
        found = self.find(x)  # [n, m]
        accepted, seen = found.any(1), self.find(known).any(0)
        of_accepted = lambda values: jnp.where(accepted, values, 0).sum() / jnp.maximum(accepted.sum(), 1)
        long = lambda x: jax.nn.one_hot((x != PAD).sum(1), x.shape[1] + 1, dtype=jnp.float32)  # [n, t + 1]
        lengths = jnp.float32(np.exp(self.log_p)) @ long(self.strings)
        return {
            "accepted": accepted.mean(),
            "log_p": of_accepted(self.log_likelihood(x)),
            "different": found.any(0).sum(),
            "new": of_accepted((found & ~seen[None]).any(1)),
            "lengths": jnp.abs(long(x).mean(0) - lengths).sum() / 2,
        }
