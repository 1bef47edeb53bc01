"""The denoiser of features of Warde-Farley and Bengio (ICLR 2017): a deep perceptron with batch norm."""

import flax.linen as nn

from gan_jax.nets.layers import plain_batch_norm


class R(nn.Module):
    """Features [b, f] -> features [b, f]: `depth` hidden layers of `width` ReLUs with batch norm, and a linear one."""

    width: int = 2048
    depth: int = 10

    @nn.compact
    def __call__(self, f, train=True):
        h = f
        for _ in range(self.depth):
            h = nn.Dense(self.width, use_bias=False, kernel_init=nn.initializers.he_normal())(h)
            h = nn.relu(plain_batch_norm(h, train))
        return nn.Dense(f.shape[1])(h)
