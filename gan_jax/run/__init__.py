"""What runs an experiment: the command line, the loop, the run's folder, devices, checkpoints, pictures."""

from gan_jax.run.config import Count as Count
from gan_jax.run.config import Decay as Decay
from gan_jax.run.config import Depth as Depth
from gan_jax.run.config import Share as Share
from gan_jax.run.loaded import transferred as transferred
from gan_jax.run.plots import Picture as Picture
from gan_jax.run.program import program as program
from gan_jax.run.setup import Measure as Measure
from gan_jax.run.setup import Sample as Sample
from gan_jax.run.setup import Setup as Setup
from gan_jax.run.setup import Step as Step
