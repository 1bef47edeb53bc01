"""Molecules: both phases of the step against the formulas text by text, the published nets, and what is measured."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.sequences import molecules
from gan_jax import UserError, data
from gan_jax.data import chains, tokens
from gan_jax.game import rng
from gan_jax.metrics import chemistry

V, B, LENGTH = len(chains.NAMES), 2, 4
CFG = dataclasses.replace(
    molecules.PRESETS["tiny"], batch_size=B, share=0.3, adversarial=0.7, noise=0.8, z_dim=3, dim=2, depth=2, lr=0.01
)


def lstm(p, state, x):
    """A cell: (c, h) and what it sees -> (c, h)."""
    i, f, g, o = jnp.split(x + state[1] @ p["Dense_0"]["kernel"], 4)
    c = oracle.sigmoid(f) * state[0] + oracle.sigmoid(i) * jnp.tanh(g)
    return c, oracle.sigmoid(o) * jnp.tanh(c)


def one(p, x):
    return oracle.dense(p, x[None])[0]


def log_softmax(logits):
    return logits - jnp.log(jnp.exp(logits).sum())


def read(p, words):
    """E, of one text without its padding: its code, of what each LSTM says at the other end."""
    ends = []
    for i, way in enumerate((words, words[::-1])):
        state = jnp.zeros(CFG.e_width), jnp.zeros(CFG.e_width)
        for word in way:
            gates = one(p[f"Dense_{i + 1}"], word @ p["Dense_0"]["kernel"])
            state = lstm(p[f"ScanCell_{i}"], state, gates)
        ends.append(state[1])
    return one(p["Dense_3"], jnp.concatenate(ends))


def write(p, code, y, given, draw):
    """G: log p of each character of one text, and its characters, given ones or those that noise draws."""
    of, before, over, found = p["ScanCharacter_0"], jnp.zeros(V), False, []
    c = one(p["Dense_0"], jnp.concatenate([code, y]))
    states = [(c, jnp.zeros_like(c))] * CFG.depth
    for row in given:
        h = jnp.concatenate([before @ of["Dense_0"]["kernel"], y])
        for i in range(CFG.depth):
            states[i] = lstm(of[f"Cell_{i}"], states[i], one(of[f"Dense_{i + 1}"], h))
            h = states[i][1]
        logits = one(of[f"Dense_{CFG.depth + 1}"], h)
        word = row
        if draw:
            some = jnp.delete(jnp.arange(V), np.array([tokens.PAD, tokens.UNK]))  # what may be drawn
            soft = jnp.zeros(V).at[some].set(jnp.exp(log_softmax((logits + row)[some])))
            word = soft + jax.lax.stop_gradient(jnp.eye(V)[soft.argmax()] - soft)
            word = jnp.where(over, jnp.eye(V)[tokens.PAD], word)
            over = over | (jax.lax.stop_gradient(word).argmax() == tokens.END)
        found.append((log_softmax(logits), word))
        before = word
    return [jnp.stack(of) for of in zip(*found, strict=True)]


def elu(x):
    return jnp.where(x > 0, x, jnp.exp(x) - 1)


def score(p, code, y):
    return oracle.perceptron([p[f"Dense_{i}"] for i in range(3)], jnp.concatenate([code, y])[None], act=elu)[0, 0]


def value(p, words):
    """V: three windows of five, the sum over places, two layers: the property, and a score of being a molecule."""
    for i in range(3):
        conv, padded = p[f"Conv_{i}"], jnp.pad(words, ((2, 2), (0, 0)))
        seen = [sum(padded[t + k] @ conv["kernel"][k] for k in range(5)) for t in range(len(words))]
        seen = jnp.stack(seen) + conv["bias"][None]
        words = jnp.where(seen > 0, seen, 0)  # the gradient of jnp.maximum at 0 is one half
    return oracle.perceptron([p["Dense_0"], p["Dense_1"]], words.sum(0)[None])[0]


def sp(x):
    return jnp.log1p(jnp.exp(x))


def is_molecule(words):
    """Asked of the text, as a user would read it."""
    text = tokens.text(np.asarray(words).argmax(-1), chains.NAMES)
    return float(chemistry.canonical(text) is not None if chemistry.rdkit() else chemistry.balanced(text))


def moved(players, x, lasts, y, z, drawn_z, noise, rewarded, constant, rate):
    """One step of E, G, D and V, all against the others as they were. constant: the ratio has no gradient."""
    e, g, d, v = players

    def loss(params):
        codes = [read(params[0], x[i, : lasts[i]]) for i in range(B)]
        nll = [-(write(params[1], codes[i], y[i], x[i], False)[0] * x[i])[: lasts[i]].sum() for i in range(B)]
        value_ = (
            sum(nll) / sum(lasts) + CFG.adversarial * sum(sp(-score(d.params, codes[i], y[i])) for i in range(B)) / B
        )
        if not rewarded:
            return value_, (codes, x)
        made = [write(params[1], drawn_z[i], y[i], noise[i], True)[1] for i in range(B)]
        said = [value(v.params, words) for words in made]
        reward = sum(oracle.sigmoid(real) * jnp.exp(-((of - y[i, 0]) ** 2)) for i, (of, real) in enumerate(said)) / B
        ratio = abs(value_ / reward)
        ratio = jax.lax.stop_gradient(ratio) if constant else ratio
        return CFG.share * value_ - (1 - CFG.share) * ratio * reward, (codes, made)

    (e_grads, g_grads), (codes, made) = jax.grad(loss, has_aux=True)((e.params, g.params))
    if rewarded:  # codes have no part in the reward: E descends the loss itself
        e_grads = jax.tree.map(lambda grad: grad / CFG.share, e_grads)
    d_loss = lambda p: sum(sp(-score(p, z[i], y[i])) + sp(score(p, codes[i], y[i])) for i in range(B)) / B

    def v_loss(p):
        total = 0
        for i in range(B):
            (of, real), (_, score_) = value(p, x[i]), value(p, made[i])
            total += (
                (of - y[i, 0]) ** 2 + sp(-real) + (sp(-score_) if not rewarded or is_molecule(made[i]) else sp(score_))
            )
        return total / B

    grads = e_grads, g_grads, jax.grad(d_loss)(d.params), jax.grad(v_loss)(v.params)
    return [oracle.adam(player, grad, rate) for player, grad in zip(players, grads, strict=True)]


@pytest.fixture
def short(monkeypatch):
    """Molecules that are cut to four characters; of the first two of each batch one ends before."""
    source, own = data.load("chains"), np.random.default_rng(0)
    x = own.integers(3, V, (6, LENGTH)).astype(np.int32)
    x[::2, 2:] = tokens.END, tokens.PAD
    field = dataclasses.replace(source.fields["x"], shape=(LENGTH,))
    raw = {"x": x, "property": own.normal(size=(6, 1)).astype(np.float32)}
    fields = {"x": field, "property": data.Field((1,), "row", names=("heteroatoms",))}
    source = dataclasses.replace(source, fields=fields, whole=lambda: raw)
    monkeypatch.setattr(molecules, "source_of", lambda cfg: source)
    return raw


@pytest.mark.long
def test_step_is_the_formulas_s(short):
    """A step of the autoencoder and one of the mix, in float64; had the ratio a gradient, it would be another one."""
    raw = short
    batches = [{name: a[i : i + B] for name, a in raw.items()} for i in (0, 2)]
    mean, deviation = raw["property"].mean(), raw["property"].std()
    with jax.enable_x64(True):
        start, end, _ = oracle.played(molecules, CFG, batches)

        def theirs(constant):
            players = oracle.started(start.e, start.g, start.d, start.v)
            for t, batch in enumerate(batches):
                key = rng.at(start.key, t, "written")
                u = rng.uniform(rng.at(key, 0, "gumbel"), (B, LENGTH, V))
                noise = -CFG.noise * jnp.log(-jnp.log(jnp.clip(u, 1e-6, 1 - 1e-6)))
                drawn_z, z = rng.normal(rng.at(key, 0, "z"), (B, 3)), rng.normal(rng.at(start.key, t, "z"), (B, 3))
                lasts = tuple(int((row != tokens.PAD).sum()) for row in batch["x"])
                y = (batch["property"] - mean) / deviation
                players = moved(
                    players, jnp.eye(V)[batch["x"]], lasts, y, z, drawn_z, noise, t >= 1, constant, CFG.lr / 2**t
                )
            return players

        found = [end.e, end.g, end.d, end.v]
        oracle.same(found, theirs(True), rtol=1e-6, atol=1e-9)
        oracle.differ(found[:2], theirs(False)[:2], rtol=1e-4)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_the_nets_of_moses(monkeypatch):
    """Counted by hand, of 30 characters; LSTMs have one bias a gate, y goes into G at its state and each character."""
    source = dataclasses.replace(
        data.load("chains"), fields={"x": data.Field((4,), "tokens", np.int32, 30), "property": data.Field((1,), "row")}
    )
    cfg = dataclasses.replace(molecules.PRESETS["paper"], dataset="thirty")
    monkeypatch.setitem(data.DATASETS, "thirty", lambda name: source)
    assert (cfg.lr, cfg.batch_size, cfg.noise, cfg.z_dim) == (1e-3, 512, 1, 128)
    state = jax.eval_shape(functools.partial(molecules.init, cfg), jax.random.key(0))
    cell = lambda seen, width: 4 * width * (seen + width + 1)
    assert count(state.e.params) == 30 * 32 + 2 * cell(32, 512) + (2 * 512 + 1) * 128
    assert count(state.g.params) == 30 * 32 + (129 + 1) * 512 + cell(33, 512) + cell(512, 512) + (512 + 1) * 30
    assert count(state.d.params) == (129 + 1) * 640 + (640 + 1) * 256 + 256 + 1


@pytest.fixture(scope="module")
def state():
    return jax.jit(functools.partial(molecules.init, CFG))(jax.random.key(3))


def test_what_is_written_ends_once(state):
    """One character a place; after the end padding alone; the same z writes another text where another y is asked."""
    params = jax.tree.map(lambda p: 5 * p, state.g.params)
    write = jax.jit(lambda y: molecules.written(CFG, params, jax.random.key(0), y))
    words, other = write(jnp.zeros((200, 1))), write(jnp.full((200, 1), 3.0))
    assert ((words == 0) | (abs(words - 1) < 1e-6)).all() and (abs(words.sum(-1) - 1) < 1e-5).all()
    x = np.asarray(words.argmax(-1))
    ends = (x == tokens.END).cumsum(1)
    assert not (x == tokens.UNK).any()  # no data has it
    assert ends.max() == 1 and (x[:, 1:][ends[:, :-1] == 1] == tokens.PAD).all() and (ends[:, -1] == 1).mean() > 0.1
    assert (x != other.argmax(-1)).any()


def test_codes_do_not_see_the_padding(state):
    """The same text in a longer row has the same code."""
    E, *_ = molecules.build(CFG)
    x, last = jax.nn.one_hot(np.array([[3, 4, 2]]), V), np.array([2])
    longer = jnp.concatenate([x, jnp.ones((1, 3, V))], 1)
    codes = [E.apply({"params": state.e.params}, of, last) for of in (x, longer)]
    np.testing.assert_allclose(*codes, rtol=1e-5)


def test_what_is_asked_is_said(state, monkeypatch):
    """In the units of the property: the mean of the data, and one and a half deviations to each side; texts under it."""
    monkeypatch.setattr(molecules, "ROWS", 20)
    source = molecules.source_of(CFG)
    found = molecules.measure(CFG, state, jax.random.key(0), source.whole(), {})
    mean, deviation = source.whole()["property"].mean(), source.whole()["property"].std()
    for how, much in {"low": -1.5, "middle": 0, "high": 1.5}.items():
        assert found[f"{how}/asked"] == pytest.approx(mean + much * deviation, rel=1e-5)
        assert 0 <= found[f"{how}/balanced"] <= 1
    assert found["asked"].rows[1] == f"heteroatoms {mean:.3g} asked" and found["asked"].x.shape == (
        3,
        16,
        chains.LENGTH,
    )
    assert molecules.measure(CFG, state, jax.random.key(0), {}, {}) == {}


def test_a_property_of_the_set_s_own(monkeypatch):
    """Is the one that is asked for; one that never changes is refused."""
    source = data.described(data.load("chains"), "property", "weight", lambda text: 12.0)
    monkeypatch.setitem(data.DATASETS, "weighed", lambda name: source)
    cfg = dataclasses.replace(CFG, dataset="weighed")
    assert molecules.source_of(cfg) is source
    with pytest.raises(UserError, match="chains has no property, a number that differs from record to record"):
        molecules.setup(cfg)
    two = dataclasses.replace(source.fields["property"], shape=(2,), names=("logp", "qed"))
    unknown = data.described(data.load("chains"), "property", "weight", lambda text: float("nan"))
    for odd in (dataclasses.replace(source, fields=source.fields | {"property": two}), unknown):
        monkeypatch.setattr(molecules, "source_of", lambda cfg, odd=odd: odd)
        with pytest.raises(UserError, match="chains has no property"):
            molecules.setup(cfg)
