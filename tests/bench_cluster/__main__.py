"""``python -m tests.bench_cluster [FIGURE]``: the figures that need the kit's Kubernetes, as ``tests.bench`` prints."""

from __future__ import annotations

import sys

from tests.bench.__main__ import main
from tests.bench_cluster import adopted, argocd, failover, lines, over, receiving, rolling, scale, scaling, soak

FAMILIES = (
    scale.FAMILY, lines.FAMILY, over.FAMILY, adopted.FAMILY, argocd.FAMILY, receiving.FAMILY, scaling.FAMILY,
    rolling.FAMILY, failover.FAMILY, soak.FAMILY,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], FAMILIES, "tests.bench_cluster"))
