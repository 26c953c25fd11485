"""The tables, one file per aggregate. Importing this package registers all of them."""

from modelyard.store.tables import iam, model, service
from modelyard.store.tables.base import Table

__all__ = ["Table", "iam", "model", "service"]
