"""Nets that ask and answer: G writes a question whose answer stands in a text, D reads a question and finds the answer.

G is a sequence-to-sequence net with attention that says words of its own or copies those of the text (Gu et al. 2016,
arXiv 1603.06393, with a gate), D a reader with gated attention (Dhingra et al. 2017, arXiv 1606.01549) of one hop.
Word vectors are given to both, as a table [v, d]; texts are tokens [b, t] as `data.tokens` has them.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.data.tokens import END, PAD, UNK
from gan_jax.nets import sentences

NEVER = -1e9  # the logit of what can't be
DRAW = -1  # in place of a word: G draws one
LEAST = 1e-6  # probability of a word that is neither G's own nor in the text


class Cells(nn.Module):
    """One step of two LSTMs side by side: (their c and h [b, 2, width], gates [b, 2, 4 width]) -> (the same, h)."""

    width: int

    @nn.compact
    def __call__(self, state, gates):
        c, h = state
        start = nn.initializers.lecun_normal(1, 2, batch_axis=0)
        kernel = self.param("kernel", start, (2, self.width, 4 * self.width), jnp.float32)
        i, f, g, o = jnp.split(gates + jnp.einsum("bkw,kwf->bkf", h, kernel), 4, axis=-1)
        c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
        h = nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h


def both_ways(width, x):
    """Return the states [b, t, 2 width] of two LSTMs over x [b, t, d], from either end; for use inside a module."""
    gates = nn.Dense(8 * width)(x).reshape(*x.shape[:2], 2, 4 * width)
    turned = lambda a: jnp.stack([a[:, :, 0], a[:, ::-1, 1]], 2)
    lstms = nn.scan(Cells, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1)
    zero = jnp.zeros((len(x), 2, width), x.dtype)
    states = lstms(width)((zero, zero), turned(gates))[1]  # [b, t, 2, width]
    return turned(states).reshape(*x.shape[:2], 2 * width)


def weights(scores, there):
    """Return scores [..., t] as weights of what is there (bool, the same shape), whose sum is 1."""
    return nn.softmax(jnp.where(there, scores, NEVER))


class Word(nn.Module):
    """One word of G: ((state of its LSTM, the word before [b], what it attended to [b, 2 width]), given, the text).

    given: (the word [b] or DRAW, a number [b] in [0, 1) by which one is drawn). The text: (table [v, d], tokens [b, p],
    what was read of them [b, p, 2 width]). Returns (the same three, (the word [b], its log probability [b])).
    """

    width: int
    own: int  # words that it says without copying: those with the smallest numbers

    @nn.compact
    def __call__(self, carry, given, text):
        (state, before, seen), (given, noise), (table, context, read) = carry, given, text
        gates = nn.Dense(4 * self.width)(jnp.concatenate([table[before], seen], -1))
        state, h = sentences.Cell(self.width)(state, gates)
        scores = jnp.einsum("bpd,bd->bp", read, nn.Dense(2 * self.width, use_bias=False)(h))
        copied = weights(scores, context > END)  # [b, p]
        seen = jnp.einsum("bp,bpd->bd", copied, read)
        out = jnp.tanh(nn.Dense(self.width)(jnp.concatenate([h, seen], -1)))
        logits, own = nn.Dense(self.own)(out), jnp.arange(self.own, dtype=jnp.int32)[None]
        said = weights(logits, jnp.broadcast_to((own != PAD) & (own != UNK), logits.shape))  # [b, own]
        gate = nn.sigmoid(nn.Dense(1)(out))
        p = jnp.concatenate([gate * said, (1 - gate) * copied], -1)  # [b, own + p], of each way to say a word
        words = jnp.concatenate([jnp.broadcast_to(own, said.shape), context], -1)  # which word that is
        at = (p.cumsum(-1) <= noise[:, None]).sum(-1, keepdims=True)
        drawn = jnp.take_along_axis(words, jnp.minimum(at, p.shape[1] - 1), 1)[:, 0]
        drawn = jnp.where((before == END) | (before == PAD), PAD, drawn)
        word = jnp.where(given == DRAW, drawn, given)
        likely = jnp.log(LEAST + (p * (words == word[:, None])).sum(-1))
        return (state, word, seen), (word, jnp.where(word == PAD, 0, likely))


class G(nn.Module):
    """A text [b, p], the span [b, 2] of an answer, words and noise [b, q] -> words [b, q], log p of each [b, q].

    Where the words are DRAW it draws its own by the noise, even in [0, 1); what follows the end is padding then.
    """

    width: int
    own: int

    @nn.compact
    def __call__(self, table, context, span, given, noise, train=True):
        places = jnp.arange(context.shape[1])[None]
        answer = ((span[:, :1] <= places) & (places <= span[:, 1:])).astype(table.dtype)[..., None]  # [b, p, 1]
        read = both_ways(self.width, jnp.concatenate([table[context], answer], -1))
        mean = (read * answer).sum(1) / answer.sum(1)  # [b, 2 width]
        state = tuple(jnp.split(jnp.tanh(nn.Dense(2 * self.width)(mean)), 2, axis=-1))
        nothing = jnp.full(len(context), UNK, jnp.int32)
        axes = {"in_axes": (1, nn.broadcast), "out_axes": 1}
        write = nn.scan(Word, variable_broadcast="params", split_rngs={"params": False}, **axes)(self.width, self.own)
        return write((state, nothing, jnp.zeros_like(mean)), (given, noise), (table, context, read))[1]


class D(nn.Module):
    """A text [b, p], a question [b, q] and its tag [b] -> log p [b, p, 2] of the answer's first and last word.

    kept [b, d]: by how much each number of the row's word vectors is multiplied: dropout. The tag, 0 or 1, is one more
    word of the question.
    """

    width: int

    @nn.compact
    def __call__(self, table, context, question, tag, kept, train=True):
        tags = self.param("tags", nn.initializers.normal(0.5), (2, table.shape[1]), jnp.float32)
        asked = jnp.concatenate([table[question] * kept[:, None], tags[tag][:, None]], 1)  # [b, q + 1, d]
        there = jnp.concatenate([question > END, jnp.ones_like(question[:, :1], bool)], 1)
        same = (context[:, :, None] == question[:, None]) & (question > END)[:, None]  # [b, p, q]
        shared = same.any(2, keepdims=True).astype(table.dtype)  # whether the question has the word, too
        read = both_ways(self.width, jnp.concatenate([table[context] * kept[:, None], shared], -1))  # [b, p, 2 width]
        asked = both_ways(self.width, asked)
        scores = jnp.einsum("bpd,bqd->bpq", read, asked)
        about = weights(scores, jnp.broadcast_to(there[:, None], scores.shape)) @ asked  # [b, p, 2 width]
        hidden = jnp.tanh(nn.Dense(2 * self.width)(jnp.concatenate([read, read * about], -1)))
        logits = nn.Dense(2, use_bias=False)(hidden)  # [b, p, 2]
        return nn.log_softmax(jnp.where((context > END)[..., None], logits, NEVER), 1)
