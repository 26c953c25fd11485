"""The identity API (iam.md)."""

from modelyard.api.routes.iam import administration, projects, roles, tokens

ROUTERS = (tokens.router, projects.router, administration.router, roles.router)
