"""The package doctor's static half: what reading a package tells, without running any of it.

``read_package`` reads the texts, ``examine`` judges them; the command ``modelyard check`` and the
importer share both.
"""

from modelyard.packages.doctor.examine import examine
from modelyard.packages.doctor.findings import Finding, Level
from modelyard.packages.doctor.here import available_here, python_here
from modelyard.packages.doctor.texts import Package, read_package

__all__ = [
    "Finding",
    "Level",
    "Package",
    "available_here",
    "examine",
    "python_here",
    "read_package",
]
