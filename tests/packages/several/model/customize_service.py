"""Two service classes: nobody can know which is meant."""

from model_service.model_service import SingleNodeService
from model_service.pytorch_model_service import PTServingBaseService


class First(PTServingBaseService):
    pass


class Second(SingleNodeService):
    pass
