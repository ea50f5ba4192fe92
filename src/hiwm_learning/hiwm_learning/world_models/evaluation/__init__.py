"""The evaluation of world models, open loop; it knows neither task nor family."""
