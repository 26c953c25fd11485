from __future__ import annotations

from modelyard.gateway.stats import ClusterStats, parse, parse_latencies


def test_counters_by_cluster() -> None:
    text = (
        "cluster.s/a.upstream_rq_total: 12\n"
        "cluster.s/a.upstream_rq_active: 2\n"
        "cluster.s/a.external.upstream_rq_2xx: 9\n"
        "cluster.s/a.upstream_rq_2xx: 9\n"
        "cluster.s/b.upstream_rq_5xx: 1\n"
        "cluster.xds.upstream_rq_total: 1\n"
        "server.live: 1\n"
    )
    assert parse(text) == {
        "s/a": ClusterStats(total=12, active=2, ok=9),
        "s/b": ClusterStats(server_errors=1),
    }


def test_latencies_by_cluster() -> None:
    text = (
        "cluster.s/m@shadow.upstream_rq_time: P0(nan,20.25) P50(nan,22.5) P99(1.5,28.5)\n"
        "cluster.s/n@shadow.upstream_rq_time: No recorded values\n"
        "cluster.s/m@shadow.internal.upstream_rq_time: P50(1,2)\n"
    )
    assert parse_latencies(text) == {"s/m@shadow": {0.0: 20.25, 50.0: 22.5, 99.0: 28.5}}
