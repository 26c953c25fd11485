"""Deployment flavors as the API lists them (resources.md §1); pure."""

from __future__ import annotations

from typing import Any

from modelyard.domain.flavors import Flavor


def flavor(item: Flavor, name: str) -> dict[str, Any]:
    """One flavor under ``name``, which is its own or an alias."""
    cards = item.gpu or item.npu
    display = f"{item.category}: {item.cpu} vCPUs {item.memory_gb} GB" + (
        f", {cards} accelerator" if cards else ""
    )
    return {
        "specification": name,
        "billing_spec": name,
        "category": item.category,
        "cpu_info": {"arch": "x86", "cpu": item.cpu},
        "memory_info": {"unit": "GB", "memory": item.memory_gb},
        "gpu_info": {
            "brand": "NVIDIA" if item.gpu else "",
            "version": "",
            "unit": "GB",
            "memory": 16 if item.gpu else 0,
            "gpu": item.gpu,
        },
        "npu_info": {
            "brand": "Ascend" if item.npu else "",
            "version": "",
            "unit": "GB",
            "memory": 8 if item.npu else 0,
            "npu": item.npu,
        },
        "is_open": item.is_open,
        "spec_status": "normal" if item.is_open else "sellout",
        "source_type": "",
        "is_free": False,
        "over_quota": False,
        "extend_params": 1,
        "display_en": display,
        "display_cn": display,
    }
