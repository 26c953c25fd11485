"""The fixtures of the batch tests."""

from batch_support import denying, doubler, folder_store, s3_url, sizer, store  # noqa: F401
