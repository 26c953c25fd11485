"""Envoy and all that it is told. Nothing else in the platform speaks xDS."""

import os

# gRPC's fork handlers crash children that another library forks (about one in twenty under uvloop
# with calls under way). None of ours uses gRPC. Read when grpc is imported, so before that.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
