"""Data sets as values: `load` gives a `Source`, `batch` its batches."""

from gan_jax.data.batches import batch as batch
from gan_jax.data.batches import check_batch as check_batch
from gan_jax.data.batches import draw as draw
from gan_jax.data.batches import examples as examples
from gan_jax.data.batches import order as order
from gan_jax.data.batches import reference as reference
from gan_jax.data.batches import resident as resident
from gan_jax.data.batches import some as some
from gan_jax.data.batches import stream as stream
from gan_jax.data.batches import take as take
from gan_jax.data.composed import join as join
from gan_jax.data.composed import only_labelled as only_labelled
from gan_jax.data.composed import stacked as stacked
from gan_jax.data.sets import DATASETS as DATASETS
from gan_jax.data.sets import load as load
from gan_jax.data.sets import settled as settled
from gan_jax.data.source import Field as Field
from gan_jax.data.source import Source as Source
from gan_jax.data.source import decode as decode
from gan_jax.data.source import label as label
