"""Deployment flavors and old dedicated pools as the API lists them (resources.md §1, §2); pure."""

from __future__ import annotations

from typing import Any

from modelyard.domain.service.flavors import CUSTOM, Flavor
from modelyard.domain.service.pools import Pool
from modelyard.domain.service.resources import Limits
from modelyard.iam.claims import Claims


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


def cluster(pool: Pool, left: Limits, claims: Claims) -> dict[str, Any]:
    """One old pool; ``allocatable_*`` is what its services leave of it."""
    count = len(pool.nodes) or 1
    return {
        "cluster_id": pool.ref.id,
        "cluster_name": pool.name,
        "description": pool.description,
        "tenant": claims.domain_id,
        "project": claims.project_name or claims.project_id,
        "owner": claims.user_id,
        "created_at": pool.created_at,
        "status": pool.state,
        "nodes": {
            "specification": CUSTOM,
            "count": count,
            "available_count": count if pool.usable else 0,
        },
        "allocatable_cpu_cores": left.cpu,
        "allocatable_memory": left.memory_mb,
        "allocatable_gpus": left.gpu,
    }
