"""The tables, one file per aggregate. Importing this package registers all of them."""

from modelyard.store.tables import batch, iam, model, service
from modelyard.store.tables.base import Table

__all__ = ["Table", "batch", "iam", "model", "service"]
