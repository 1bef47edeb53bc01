"""What a loop's body makes of values that no turn changes is made once, before the loop.

A body that closes over x,

    def body(w):
        columns = patches(x)                 # of x alone: the same every turn
        return w - rate * (columns @ w)      # of w: another one every turn

    lax.scan(lambda w, _: (body(w), None), w, length=10)

cuts x into patches ten times, and its backward pass puts the gradients of ten together. `hoisted(body, w)` is

    columns = patches(x)

    def body(w):
        return w - rate * (columns @ w)

with `columns` computed where `hoisted` is called, found in the body's own jaxpr: of its equations, those that depend on
no argument.
"""

import jax
from jax.extend import core


def hoisted(f, *args):
    """Return f, for arguments of these shapes and dtypes, less what does not depend on them: that is computed here.

    f is a pure function of trees of arrays. What depends on neither arguments nor values that f closes over, such as
    zeros, stays in f: making it anew costs less than keeping it.
    """
    closed, shape = jax.make_jaxpr(f, return_shape=True)(*args)
    jaxpr = closed.jaxpr
    once, rest, fixed = _divided(jaxpr)
    needed = {v for eqn in rest for v in _variables(eqn.invars)}.union(_variables(jaxpr.outvars))
    kept = [v for v in (*jaxpr.constvars, *(v for eqn in once for v in eqn.outvars)) if v in needed & fixed]
    before = core.ClosedJaxpr(jaxpr.replace(eqns=once, outvars=kept), closed.consts)
    values = core.jaxpr_as_fun(before)(*jax.tree.leaves(args))
    body = core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr.replace(eqns=rest, constvars=kept), values))
    return lambda *args: jax.tree.unflatten(jax.tree.structure(shape), body(*jax.tree.leaves(args)))


def _divided(jaxpr):
    """Return (equations that depend on no argument, the others, what is fixed: constants and what is made of them).

    Equations of numbers alone are in both.
    """
    once, rest, fixed, varies = [], [], set(jaxpr.constvars), set(jaxpr.invars)
    for eqn in jaxpr.eqns:
        of = _variables(eqn.invars)
        if eqn.effects or varies.intersection(of):
            rest.append(eqn)
            varies.update(eqn.outvars)
        elif fixed.intersection(of):
            once.append(eqn)
            fixed.update(eqn.outvars)
        else:
            once.append(eqn)
            rest.append(eqn)
    return once, rest, fixed


def _variables(atoms):
    return [v for v in atoms if not isinstance(v, core.Literal)]
