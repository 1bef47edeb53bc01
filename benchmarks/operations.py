"""What a step computes: floating point operations and bytes, by XLA's cost analysis, with loops as often as they run.

XLA counts the body of a loop once, so every `scan` (a lookahead, a critic's updates) is compiled once more by itself
and added as often as it runs; loops that end by a condition, and those inside random numbers, stay counted once. On a
GPU the operations are those of the program before compilation, since XLA counts its calls of matrix libraries as
nothing (jax-ml/jax#22249). Bytes are what every operation reads and writes, a fused one as a whole. Much of that never
leaves the caches.
"""

import jax
import numpy as np
from jax.extend import core
from jax.interpreters import partial_eval

from gan_jax import data


def one_step(played, keep=lambda state: state):
    """Return the step of a Game as a closed jaxpr, without what `keep(new state)` does not need."""
    source, b, key = played.setup.source, played.setup.batch_size, jax.random.key(0)
    draw = lambda feed, key: data.batch(source, feed, key, 0, b)
    batch = jax.eval_shape(draw, data.resident(source), key)
    stepped = lambda state, batch: keep(played.step(state, batch)[0])
    closed = jax.make_jaxpr(stepped)(jax.eval_shape(played.init, key), batch)
    jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars), instantiate=True)
    return core.ClosedJaxpr(jaxpr, closed.consts)


def cost(jaxpr):
    """Return [operations, bytes] of a closed jaxpr, every scan in it as often as it runs, and then as XLA counts it."""
    lowered = jax.jit(core.jaxpr_as_fun(jaxpr)).lower(*(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in jaxpr.in_avals))
    backend = jax.default_backend()
    # what is counted is the same at every level
    found = lowered.compile({"xla_backend_optimization_level": 0} if backend == "cpu" else None).cost_analysis()
    operations = lowered.cost_analysis() if backend == "gpu" else found
    whole = once = np.array([operations["flops"], found["bytes accessed"]])
    for scan in scans(jaxpr.jaxpr):
        if scan.params["length"]:  # else XLA took it out
            body, counted = cost(scan.params["jaxpr"])
            whole = whole + scan.params["length"] * body - counted
    return whole, once


def scans(jaxpr):
    """Yield the scans of a jaxpr and of what it calls, but not those inside them."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "scan":
            yield eqn
            continue
        for called in jax.tree.leaves(eqn.params, is_leaf=lambda v: isinstance(v, core.Jaxpr | core.ClosedJaxpr)):
            if isinstance(called, core.Jaxpr | core.ClosedJaxpr):
                yield from scans(getattr(called, "jaxpr", called))
