"""Everything that an operator can set, in groups; each part of the platform receives only its own.

Flags and ``MODELYARD_*`` variables name a setting without its group.
"""

from modelyard.settings.composed import Settings, variable_of
from modelyard.settings.groups import (
    ApiSettings,
    BatchSettings,
    CapacitySettings,
    GatewaySettings,
    IamSettings,
    PackageSettings,
    PredictionSettings,
    RolloutSettings,
    RuntimeSettings,
    StoreSettings,
)
from modelyard.settings.home import HomeLayout

__all__ = [
    "ApiSettings",
    "BatchSettings",
    "CapacitySettings",
    "GatewaySettings",
    "HomeLayout",
    "IamSettings",
    "PackageSettings",
    "PredictionSettings",
    "RolloutSettings",
    "RuntimeSettings",
    "Settings",
    "StoreSettings",
    "variable_of",
]
