"""What to do about files of earlier versions. `hiwm_learning.migration` converts them."""

# The remedy in every refusal of an older session, bag, data set or checkpoint.
MIGRATE = "convert it with scripts/migrate PATH (docs/migrate.md), which keeps the original"
