"""Caffe's class: without an _inference of its own it wants the engine."""

from model_service.caffe_model_service import CaffeBaseService


class Net(CaffeBaseService):
    def __init__(self, model_name, model_path):
        super(Net, self).__init__(model_name, model_path)
