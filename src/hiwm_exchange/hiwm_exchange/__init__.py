"""Data in and out: LeRobot data sets, IWS files, raw bags of others, videos."""
