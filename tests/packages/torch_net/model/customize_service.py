"""A state_dict, a network from a sibling module, and tensors in the answer."""

import torch
from model import Net

from model_service.pytorch_model_service import PTServingBaseService


class TorchNet(PTServingBaseService):
    def __init__(self, model_name, model_path):
        super(TorchNet, self).__init__(model_name, model_path)
        self.model = Net()
        self.model.load_state_dict(torch.load(model_path, map_location="cpu"))
        self.model.eval()

    def _preprocess(self, data):
        return {"x": torch.tensor([data["x"]], dtype=torch.float32)}

    def _postprocess(self, data):
        return {"logits": data["x"], "label": data["x"].argmax(), "shape": data["x"].shape}
