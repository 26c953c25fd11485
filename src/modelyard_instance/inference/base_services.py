"""The base classes that real inference scripts derive from (models.md §4).

::

    SingleNodeService              deep learning: data is parsed JSON or a form
    ├── PTServingBaseService       PyTorch: the model is self.model
    ├── TfServingBaseService       TensorFlow: the SavedModel at self.model_path
    ├── MXNetBaseService           needs mxnet for anything of its own
    ├── CaffeBaseService           needs caffe for anything of its own
    └── RawTextService             machine learning: data is the raw JSON text
        ├── XgSklServingBaseService
        └── SparkServingBaseService

Scripts often skip ``super().__init__``, so nothing here depends on it having run: the worker sets
``model_name`` and ``model_path`` beforehand (models.md §9). Engines are imported when first used.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from modelyard_instance.inference.codec import decode
from modelyard_instance.inference.engines import need
from modelyard_instance.inference.metrics import MetricsManager
from modelyard_instance.inference.weights import load_estimator

logger = logging.getLogger(__name__)

# The values that flow through a script are the script's own business.
Data = Any


class SingleNodeService:
    """Base of all: ``inference`` calls ``_preprocess``, ``_inference``, ``_postprocess``."""

    raw_text = False
    """Whether ``data`` is the raw JSON text instead of the parsed value."""

    model_name = ""
    model_path = ""

    def __init__(self, model_name: str | None = None, model_path: str | None = None) -> None:
        # What a script leaves out keeps the value that was set beforehand.
        if model_name is not None:
            self.model_name = model_name
        if model_path is not None:
            self.model_path = model_path

    def _preprocess(self, data: Data) -> Data:
        return data

    def _inference(self, data: Data) -> Data:
        return data

    def _postprocess(self, data: Data) -> Data:
        return data

    def inference(self, data: Data) -> Data:
        """One prediction, with the duration of each step noted in ``MetricsManager``."""
        begin = time.perf_counter()
        data = self._preprocess(data)
        prepared = time.perf_counter()
        data = self._inference(data)
        inferred = time.perf_counter()
        data = self._postprocess(data)
        end = time.perf_counter()
        MetricsManager.note(self.model_name, prepared - begin, inferred - prepared, end - begin)
        return data

    def ping(self) -> None:
        """Health hook of old packages; nothing to do."""

    def signature(self) -> None:
        """Signature hook of old packages; nothing to tell."""

    def warm_up(self) -> None:
        """Called once after construction, before the first request."""


class PTServingBaseService(SingleNodeService):
    """PyTorch: the script sets ``self.model``; each named input goes through it."""

    model: Any

    def _inference(self, data: Data) -> Data:
        return {name: self.model(value) for name, value in data.items()}


class TfServingBaseService(SingleNodeService):
    """TensorFlow: predicts with the signature of the SavedModel at ``model_path``."""

    _signature: Any = None

    def warm_up(self) -> None:
        if type(self)._inference is TfServingBaseService._inference:
            self._loaded()

    def _loaded(self) -> Any:
        if self._signature is None:
            tensorflow = need("tensorflow", type(self).__name__)
            # Kept: the signature holds its variables by weak references only.
            self._saved = tensorflow.saved_model.load(self.model_path)
            signatures = self._saved.signatures
            name = "serving_default" if "serving_default" in signatures else next(iter(signatures))
            self._signature = signatures[name]
        return self._signature

    def _inference(self, data: Data) -> Data:
        signature = self._loaded()
        tensorflow = need("tensorflow", type(self).__name__)
        expected = signature.structured_input_signature[1]
        inputs = {
            name: tensorflow.convert_to_tensor(
                value, dtype=expected[name].dtype if name in expected else None
            )
            for name, value in data.items()
        }
        return {name: value.numpy().tolist() for name, value in signature(**inputs).items()}


class MXNetBaseService(SingleNodeService):
    """MXNet: scripts bring their own ``_inference``; the default one has no engine to run on."""

    def _inference(self, data: Data) -> Data:
        need("mxnet", type(self).__name__)
        raise NotImplementedError(f"{type(self).__name__} must define _inference")


class CaffeBaseService(SingleNodeService):
    """Caffe: scripts bring their own ``_inference``; the default one has no engine to run on."""

    def _inference(self, data: Data) -> Data:
        need("caffe", type(self).__name__)
        raise NotImplementedError(f"{type(self).__name__} must define _inference")


class RawTextService(SingleNodeService):
    """Machine learning: ``__init__(model_path)``, raw JSON text in, rows out."""

    raw_text = True

    def __init__(
        self, *given: str, model_name: str | None = None, model_path: str | None = None
    ) -> None:
        # Scripts call it as (model_path) and, some, as (model_name, model_path).
        if len(given) == 1 and model_path is None:
            super().__init__(model_name, *given)
        else:
            named = {"model_name": model_name, "model_path": model_path}
            super().__init__(*given, **{key: one for key, one in named.items() if one is not None})

    def _preprocess(self, data: Data) -> Data:
        """``req_data`` as lists of values, in the order of the keys as sent."""
        request: Any = decode(data)
        inner = request.get("data", request)
        return [list(row.values()) if isinstance(row, dict) else row for row in inner["req_data"]]


class XgSklServingBaseService(RawTextService):
    """scikit-learn and XGBoost: the model file is loaded when the script has not done so."""

    model: Any = None
    # The package's model_type, set by the loader; not a name that scripts use themselves.
    _modelyard_type = ""

    def warm_up(self) -> None:
        if self.model is None and type(self)._inference is XgSklServingBaseService._inference:
            self._load()

    def _load(self) -> None:
        self.model = load_estimator(self._modelyard_type, self.model_path)

    def _inference(self, data: Data) -> Data:
        if self.model is None:
            self._load()
        return self.model.predict(data)


class SparkServingBaseService(RawTextService):
    """Spark MLlib: gives ``self.spark``, a local session."""

    _session: Any = None

    @property
    def spark(self) -> Any:
        """The Spark session, made at first use."""
        if self._session is None:
            sql = need("pyspark.sql", type(self).__name__)
            self._session = sql.SparkSession.builder.master("local[*]").getOrCreate()
        return self._session


class DefaultService(XgSklServingBaseService):
    """Serves an estimator, or any object with ``predict``, that brings no script (models.md §9)."""

    def warm_up(self) -> None:
        super().warm_up()
        if not callable(getattr(self.model, "predict", None)):
            kind = type(self.model)
            raise TypeError(
                f"{self.model_path} holds a {kind.__module__}.{kind.__qualname__}, which has no "
                "method predict: add a customize_service.py that knows how to use it"
            )

    def _postprocess(self, data: Data) -> Data:
        return [{"predictresult": value} for value in data]
