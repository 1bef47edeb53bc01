"""A small net or a regression that a metric trains on all of its rows at once, inside jit."""

from collections.abc import Callable

import jax
import optax


def minimised(loss: Callable, params, tx: optax.GradientTransformation, steps: int):
    """Return the parameters after so many updates of `tx` down the gradient of loss: params -> number."""

    def move(params_opt, _):
        params, opt = params_opt
        updates, opt = tx.update(jax.grad(loss)(params), opt, params)
        return (optax.apply_updates(params, updates), opt), None

    return jax.lax.scan(move, (params, tx.init(params)), length=steps)[0][0]
