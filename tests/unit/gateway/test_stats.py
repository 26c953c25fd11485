from __future__ import annotations

import json

from modelyard.gateway.stats import ClusterStats, parse, parse_latencies


def document(*stats: object) -> bytes:
    return json.dumps({"stats": stats}).encode()


def counter(name: str, value: int) -> dict[str, object]:
    return {"name": name, "value": value}


def test_counters_by_cluster() -> None:
    found = document(
        counter("cluster.s/a.upstream_rq_total", 12),
        counter("cluster.s/a.upstream_rq_active", 2),
        counter("cluster.s/a.upstream_rq_2xx", 9),
        counter("cluster.s/a.upstream_rq_1xx", 5),
        counter("cluster.s/b.upstream_rq_5xx", 1),
        {"histograms": {}},
    )
    assert parse(found) == {
        "s/a": ClusterStats(total=12, active=2, ok=9),
        "s/b": ClusterStats(server_errors=1),
    }
    assert parse(document()) == {}


def test_latencies_by_cluster() -> None:
    def histogram(name: str, *cumulative: float | None) -> dict[str, object]:
        values = [{"cumulative": value, "interval": None} for value in cumulative]
        return {"name": f"cluster.{name}.upstream_rq_time", "values": values}

    found = document(
        counter("cluster.s/m@shadow.upstream_rq_total", 1),
        {
            "histograms": {
                "supported_quantiles": [0, 50, 99.5],
                "computed_quantiles": [
                    histogram("s/m@shadow", 20.25, 22.5, 28.5),
                    histogram("s/n@shadow", None, None, None),
                ],
            }
        },
    )
    assert parse_latencies(found) == {"s/m@shadow": {0.0: 20.25, 50.0: 22.5, 99.5: 28.5}}
    assert parse_latencies(document()) == {}
