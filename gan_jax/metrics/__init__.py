from gan_jax.metrics.modes import coverage as coverage
