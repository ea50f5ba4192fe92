"""The world model: an image becomes the poses of a few layers, a learned step moves them.

Why layers: a latent world that paints every frame anew lets a rigid T bend within tens of steps,
because small errors along its outline add up and nothing pulls them back. Here the look of each
thing is learned once, as a canvas, and anchored; only its pose is predicted, so what is rigid
stays rigid. `layers` draws, `registration` encodes, `dynamics` predicts, `heads` judge,
`simulator` runs it step by step, `training` fits all of it from bags.
"""
