"""The stand-in yam_pair: two 6-DoF arms with grippers at a table, in MuJoCo."""
