"""Networks over one example, behind `.init(key, x) -> params` and `.apply(params, x) -> features`; flax is only here.

An encoder is a network with features [f]; a decoder is a function `shape -> network` whose features have exactly that
shape. Both are equal by value, so that a jitted function meeting an equal network again does not compile again.
Parameters are float32. `dtype` (say jnp.bfloat16) is what the products are computed in, forward and towards the input;
sums, activations and, on a CPU, the weights' gradients stay float32. Any other pair with `.init` and `.apply` will do.

base           Head, Decoder
dense          mlp_encoder, mlp_decoder, and gated
convolutional  conv_encoder, conv_decoder, and residual
stages         conv_stage, conv_output: parts of deep hierarchies, from image to image
transformer    transformer_encoder, transformer_decoder: of patches
"""

from vae_jax.networks.base import Activation, Decoder, Head, Norm, Shape
from vae_jax.networks.convolutional import conv_decoder, conv_encoder, resnet_decoder, resnet_encoder
from vae_jax.networks.dense import gated_mlp_decoder, gated_mlp_encoder, mlp_decoder, mlp_encoder
from vae_jax.networks.stages import conv_output, conv_stage
from vae_jax.networks.transformer import (
    class_token,
    every_token,
    learned_positions,
    mean_pool,
    sinusoidal_positions,
    transformer_decoder,
    transformer_encoder,
)

__all__ = [
    'Activation',
    'Decoder',
    'Head',
    'Norm',
    'Shape',
    'class_token',
    'conv_decoder',
    'conv_encoder',
    'conv_output',
    'conv_stage',
    'every_token',
    'gated_mlp_decoder',
    'gated_mlp_encoder',
    'learned_positions',
    'mean_pool',
    'mlp_decoder',
    'mlp_encoder',
    'resnet_decoder',
    'resnet_encoder',
    'sinusoidal_positions',
    'transformer_decoder',
    'transformer_encoder',
]
