"""The published contract: how routes declare it, and the OpenAPI document made of that."""
