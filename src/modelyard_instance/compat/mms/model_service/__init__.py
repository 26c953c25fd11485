"""Base class of MXNet scripts."""
