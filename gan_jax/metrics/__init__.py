from gan_jax.metrics.labels import agreement as agreement
from gan_jax.metrics.labels import within as within
from gan_jax.metrics.modes import coverage as coverage
from gan_jax.metrics.modes import label_switches as label_switches
from gan_jax.metrics.modes import stacked_coverage as stacked_coverage
