from __future__ import annotations

from modelyard.gateway.stats import ClusterStats, parse


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
