"""Image and array helpers of MXNet scripts; they need the package ``mxnet`` when called."""
