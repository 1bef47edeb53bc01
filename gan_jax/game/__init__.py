"""What happens inside the compiled step: players, losses, penalties, unrolling, rules, randomness."""

from gan_jax.game import augment as augment
from gan_jax.game import losses as losses
from gan_jax.game import penalties as penalties
from gan_jax.game import regularisers as regularisers
from gan_jax.game import rng as rng
from gan_jax.game.lookahead import unroll as unroll
from gan_jax.game.player import Player as Player
from gan_jax.game.player import create as create
from gan_jax.game.player import descend as descend
from gan_jax.game.player import ema as ema
from gan_jax.game.player import falling as falling
from gan_jax.game.player import forward as forward
