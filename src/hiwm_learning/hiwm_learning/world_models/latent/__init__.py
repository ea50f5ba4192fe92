"""The general world: objects in latents, the robot drawn from its joint state.

Frames are encoded and decoded with the joint state at hand (`robot_drawing`, `autoencoder`), so
arms cannot melt or drift and the latents hold only the objects. Joints follow commands by a model
of their own (`joint_response`). A transformer over the cells in play predicts the rest
(`dynamics`), trained on a pool of its own rollouts (`rollout_pool`, `dynamics_training`). `model`
joins the parts, `simulator` runs them step by step, `train` fits them from bags.
"""
