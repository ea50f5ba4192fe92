"""Servo models used in leaders, from the makers' control tables."""

COUNTS_PER_TURN = 4096  # of every model below

# Model number by name.
DYNAMIXEL_MODELS = {
    "xl330-m077": 1190, "xl330-m288": 1200, "xc330-t181": 1210, "xc330-t288": 1220,
    "xl430-w250": 1060, "xc430-w150": 1070, "xm430-w350": 1020, "xm540-w270": 1120,
}
FEETECH_MODELS = {"sts3215": 777, "sts3250": 2825}
MODELS = {"dynamixel": DYNAMIXEL_MODELS, "feetech": FEETECH_MODELS}
