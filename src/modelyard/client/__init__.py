"""A client for the HTTP API; it imports nothing else of Modelyard.

``api_client`` sends requests, ``credentials`` finds address and user, ``names`` turns names into
ids, ``documents`` reads answers, ``failures`` has the errors.
"""
