"""Modelyard: self-hosted model serving that speaks the ModelArts service API."""

__version__ = "0.1.0"
