"""Former name of ``inference.weights``, for workers of release 0.1 that outlive an upgrade.

Such a worker imports it when a script first predicts with a model that it has not loaded itself. To
be removed with release 0.3.
"""

from modelyard_instance.inference.weights import load_estimator

__all__ = ["load_estimator"]
