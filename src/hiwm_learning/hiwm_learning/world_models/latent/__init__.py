"""The general world: a picture of the scene is moved, and the robot is drawn before it.

The robot is a layer of the picture that follows from the joints only (`robot_layer`), so arms
cannot melt or drift. What is behind it is the state of the world: the scene, the picture of each
camera without the robot (`camera_view`, `filling`). Joints follow commands by a model
of their own (`joint_response`). A transformer over the cells in play says how the scene's parts
move (`dynamics`), trained on a pool of its own rollouts (`rollout_pool`, `dynamics_training`).
`model` joins the parts, `simulator` runs them step by step, `train` fits them from bags.
"""
