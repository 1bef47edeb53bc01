"""GDAN: G asks questions whose answers stand in a text, and D, trained on few real ones, learns to answer on them too.

Yang, Hu, Salakhutdinov and Cohen 2017, arXiv 1702.02206 (from memory). D, a reader, maximises log p(answer | text,
question, tag) of real questions, whose last word is the tag d_true, and of G's, tagged d_gen, so that what is odd about
those need not spoil its answers to real ones. G, first trained by the likelihood of the real questions, then asks what
D can answer under the tag d_true: REINFORCE with that log p as reward, less its mean over the batch.

Differences from the paper:
1. Answers of records whose question is left out stand in for the phrases that a parser finds in texts of all kinds.
2. A window of the text, small nets (the reader has one hop of gated attention), LSTMs; word vectors stay as they are.
3. G says its most frequent `words`; all others it copies from the text.
4. Both move at once, D and the reward on the same drawn questions; the likelihood stays in G's loss.
5. D loses the same numbers of all word vectors of a row (dropout), but not where it gives the reward.

    python -m experiments gdan                     a tenth of the questions about privacy policies
    python -m experiments gdan --dataset facts     sentences of a small grammar: no download
    python -m experiments gdan --reinforce 0       G learns from real questions alone; --no-tags: D is not told whose
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.data import tokens
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.metrics import spans
from gan_jax.nets import gdan
from gan_jax.nets.layers import dropout
from gan_jax.run import Count, Picture, Setup, Share, program

TRUE, GEN = 0, 1  # tags


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "policyqa_part"  # questions about texts, with answers that stand there
    labelled: Share = 0.1  # share of the training split whose questions are known
    window: Count = 40  # words of a text around the answer
    length: Count = 14  # words of a question
    vectors: str = "glove50d10k"  # a set of words and their vectors; "": random ones
    steps: Count = 400  # updates of D, and of G
    mle: int = 200  # first updates, of both by the known questions alone
    batch_size: Count = 32  # known questions a step, and as many of G's
    generated: float = 1.0  # weight of G's questions in D's loss
    tags: bool = True  # whether D is told which are G's
    reinforce: float = 0.1  # weight of D's answer in G's loss
    dim: Count = 50  # numbers of a word's vector
    width: Count = 32  # units of the LSTMs
    words: Count = 1000  # that G says without copying
    dropout: Share = 0.3  # share of the vectors' numbers that D loses
    longest: Count = 40  # words of an answer
    g_lr: float = 5e-3  # Adam's rate for G
    d_lr: float = 2e-3  # Adam's rate for D
    clip: float = 5.0  # most norm of the gradient of either


PRESETS = {
    "default": Config(),
    "xquad": Config("xquad_en", longest=10),
    "tiny": Config("facts", 0.2, 12, 6, "", 6, 1, 4, dim=4, width=4, words=24),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    vectors: jax.Array  # [v, dim], of all words: they stay as they are
    g: Player
    d: Player


def questions(cfg):
    return data.questions(cfg.dataset, cfg.window, cfg.length)


def build(cfg):
    own = min(cfg.words, questions(cfg).row["x"].classes)
    tx = lambda rate: optax.chain(optax.clip_by_global_norm(cfg.clip), optax.adam(rate))
    return gdan.G(cfg.width, own), gdan.D(cfg.width), tx(cfg.g_lr), tx(cfg.d_lr)


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    vectors = 0.5 * rng.normal(rng.at(key, 0, "vectors"), (questions(cfg).row["x"].classes, cfg.dim))
    context, question, zeros = (jnp.zeros((1, n), jnp.int32) for n in (cfg.window, cfg.length, 2))
    g = create(G, g_tx, rng.at(key, 0, "g"), vectors, context, zeros, question, jnp.zeros((1, cfg.length), jnp.float32))
    d = create(D, d_tx, rng.at(key, 0, "d"), vectors, context, question, zeros[0, :1], jnp.ones_like(vectors[:1]))
    return State(jnp.int32(0), key, vectors, g, d)


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    real, key, b = batch["labelled"], functools.partial(rng.at, state.key, state.step), len(batch["x"]["x"])
    other = batch["x"] | {"x": jnp.full_like(batch["x"]["x"], gdan.DRAW)}  # those questions are not looked at
    rows = jax.tree.map(lambda *a: jnp.concatenate(a), real, other)  # [2b, ...]
    playing = jnp.where(state.step < cfg.mle, jnp.float32(0), jnp.float32(1))

    def asked(g_params):  # (- log p of a word of the real questions, log p of those drawn [b]), all of them [2b, q]
        noise = rng.uniform(key("noise"), rows["x"].shape)
        given = state.vectors, rows["context"], rows["span"], rows["x"], noise
        (words, log_q), _ = forward(G, g_params, {}, *given)
        return (-log_q[:b].sum() / (real["x"] != tokens.PAD).sum(), log_q[b:].sum(1)), words

    def d_loss(d_params):  # of real questions, of G's, and again of G's as if they were real: their reward
        thrice = lambda a: jnp.concatenate([a, a[b:]])  # [3b, ...]
        tag = jnp.repeat(jnp.array([TRUE, GEN if cfg.tags else TRUE, TRUE]), b)
        ones = jnp.ones((2 * b, cfg.dim), state.vectors.dtype)
        kept = jnp.concatenate([dropout(key("dropout"), ones, cfg.dropout), ones[b:]])
        given = state.vectors, thrice(rows["context"]), thrice(words), tag, kept
        log_p, _ = forward(D, d_params, {}, *given)  # [3b, p, 2]
        log_p = jnp.take_along_axis(log_p, thrice(rows["span"])[:, None], 1).sum((1, 2))  # of the right answers [3b]
        of_real, of_fake = -log_p[:b].mean(), -log_p[b : 2 * b].mean()
        return of_real + playing * (cfg.generated * of_fake), (of_real, of_fake, log_p[2 * b :])

    (nll, _), back, words = jax.vjp(asked, state.g.params, has_aux=True)
    d_grads, (of_real, of_fake, reward) = jax.grad(d_loss, has_aux=True)(state.d.params)
    (g_grads,) = back((jnp.ones_like(nll), -playing * (cfg.reinforce * (reward - reward.mean()) / b)))
    g, d = descend(state.g, g_grads, g_tx), descend(state.d, d_grads, d_tx)
    metrics = {"loss/likelihood": nll, "loss/real": of_real, "loss/generated": of_fake, "reward": reward.mean()}
    return State(state.step + 1, state.key, state.vectors, g, d), metrics


def written(cfg, state, key, rows):
    """Return questions [n, q] that G asks about the answers of records."""
    noise = rng.uniform(key, (len(rows["x"]), cfg.length))
    given = rows["context"], rows["span"], jnp.full_like(rows["x"], gdan.DRAW), noise
    return forward(build(cfg)[0], state.g.params, {}, state.vectors, *given, train=False)[0][0]


def sample(cfg, state, key, n):
    return written(cfg, state, rng.at(key, 0, "noise"), data.examples(questions(cfg), key, n))


def found(cfg, state, rows):
    """Return the spans [n, 2] where D finds the answers to real questions."""
    n = len(rows["x"])
    given = state.vectors, rows["context"], rows["x"], jnp.full(n, TRUE), jnp.ones((n, cfg.dim), state.vectors.dtype)
    return spans.best(forward(build(cfg)[1], state.d.params, {}, *given, train=False)[0], cfg.longest)


def measure(cfg, state, key, train, test):
    if not test:
        return {}
    rows, counts = test["x"], jnp.asarray(spans.counted(questions(cfg).row["x"].names))
    one = lambda row: found(cfg, state, jax.tree.map(lambda a: a[None], row))[0]
    said = jax.lax.map(one, rows, batch_size=100)  # [n, 2]
    whole = jnp.full_like(said, 0).at[:, 1].set(cfg.window - 1)  # the answer of a reader who says all that there is
    mean = lambda of, said: of(said, rows["span"], rows["context"], counts).mean()
    values = {"test/f1": mean(spans.f1, said), "test/exact": mean(spans.exact, said), "whole/f1": mean(spans.f1, whole)}
    some = jax.tree.map(lambda a: a[:8], rows)
    x, every = some["context"], jnp.ones_like(counts)
    shown = {"text": x, "answer": spans.words(some["span"], x, every), "D says": spans.words(said[:8], x, every)}
    full = lambda x: jnp.pad(x, ((0, 0), (0, max(0, cfg.window - cfg.length))))[:, : cfg.window]
    shown |= {"asked": full(some["x"]), "G asks": full(written(cfg, state, key, some))}
    return values | {"questions": Picture(jnp.stack(list(shown.values())), rows=tuple(shown))}


def setup(cfg):
    source = questions(cfg)
    joined = data.join(x=source, labelled=data.few(source, max(1, round(cfg.labelled * source.n))))

    def begin(state):
        vectors = data.load(f"{cfg.vectors},x=vector,y=word:label")
        return state._replace(vectors=data.with_vectors(state.vectors, source.row["x"].names, vectors))

    return Setup(joined, cfg.batch_size, cfg.steps, kinds=("tokens",), begin=begin if cfg.vectors else None)


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
