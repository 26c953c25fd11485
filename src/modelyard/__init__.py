"""Modelyard: self-hosted model serving that speaks the ModelArts service API."""

__version__ = "0.2.0"
