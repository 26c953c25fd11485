"""Speaks xDS: the resources that Envoy should have, and the server that Envoy reads them from."""

from modelyard.gateway.xds.cache import Cache, RefusedError
from modelyard.gateway.xds.resources import Key, Kind, Resource
from modelyard.gateway.xds.server import XdsServer
from modelyard.gateway.xds.stream import Sent

__all__ = ["Cache", "Key", "Kind", "RefusedError", "Resource", "Sent", "XdsServer"]
