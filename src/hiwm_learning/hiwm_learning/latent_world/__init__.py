"""A latent world model: frames become small latents, and a learned step moves them.

It knows of no rigid things, so it serves ropes and cloth as well; what it gains in reach it has to
learn from data, on a GPU. Five pieces that do not know each other: `autoencoder` (frames and
latents), `dynamics` (the network), `objectives` (what it is trained for), `samplers` (how a next
latent is drawn from it) and `heads` (proprioception, progress, success, doubt). `model` puts them
together, `simulator` runs them step by step, `train` fits them from bags.
"""
