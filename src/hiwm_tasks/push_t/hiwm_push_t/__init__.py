"""Push-T: two planar arms push a T onto its drawn goal."""
