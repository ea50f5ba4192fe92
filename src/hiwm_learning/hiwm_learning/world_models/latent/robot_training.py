"""What the robot looks like, learned from frames with the joints of each.

The layer is drawn before the usual picture of the camera. Its loss is first the squared
error, or it would never begin to draw, and soon the absolute one: it then draws what is there in
more than half of all frames with these joints. That is the robot, and no object, if objects lie
elsewhere in each frame. It is more than the robot if an object's place follows from the joints: a
towel always starts in the middle, and has left it when the arms have folded it. Recordings of the
robot only have no such object; with them, the layer learns from nothing else.
"""

from torch import Tensor

from hiwm_learning.world_models.latent.robot_layer import RobotLayer

# Share of the training in which squares count, if the robot is not drawn yet.
FOUND_UNTIL = 0.12
ROBOT_WEIGHT = 4.0
# Of what is covered, once the robot is found. Before an empty scene, a cover in its colours costs
# nothing else, and would later hide the objects there. With .05, a small robot was dropped as well.
COVER_WEIGHT = 0.02
# Pixels this far from the usual picture weigh more: most of a scene is still.
DIFFERENT, DIFFERENT_WEIGHT = 0.06, 8.0
DARK = 0.05  # added to brightness before it is compared


def robot_loss(layer: RobotLayer, images: Tensor, usual: Tensor, squares: bool) -> Tensor:
    """Return the loss of a robot drawn in one camera, in each image's light.

    Args:
        layer: of B frames.
        images: [B, 3, H, W] in 0..1.
        usual: [3, H, W] the camera's usual picture.
        squares: whether squares count, and not the absolute error.
    """
    wanted = images / light_on(images, usual)
    error = layer.over(usual) - wanted
    if squares:
        return redrawing_loss(error, unusual_weight(wanted, usual))
    return ROBOT_WEIGHT * error.abs().mean() + COVER_WEIGHT * layer.cover.mean()


def light_on(images: Tensor, picture: Tensor) -> Tensor:
    """Return how much brighter images [..., 3, H, W] are than a picture, [..., 3, 1, 1]."""
    ratio = (images + DARK) / (picture + DARK)
    return ratio.flatten(-2).median(-1).values[..., None, None]


def unusual_weight(wanted: Tensor, usual: Tensor) -> Tensor:
    """Return weights [B, 1, H, W] of the pixels of images [B, 3, H, W]."""
    unusual = (wanted - usual).abs().amax(1, keepdim=True)
    return 1.0 + DIFFERENT_WEIGHT * (unusual > DIFFERENT).float()


def redrawing_loss(error: Tensor, weight: Tensor) -> Tensor:
    """Return the loss of an error of images [B, 3, H, W] with weights of pixels [B, 1, H, W]."""
    return 4.0 * (weight * error**2).mean() + 0.2 * (weight * error.abs()).mean()
