"""What training costs: vae_jax against its peers, on the same two cores, in turn. `python -m benchmarks.run`."""
