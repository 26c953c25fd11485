"""What the API answers when it refuses, fails or cannot be reached (iam.md §5)."""

from __future__ import annotations

from pydantic import Field

from modelyard.api.schemas.base import JsonObject, ResponseModel


class ProblemItem(ResponseModel):
    """One thing that is wrong with a request."""

    field: str = Field(description="Its dotted path in the body.", examples=["config[0].weight"])
    reason: str = Field(description="What is wrong.", examples=["the weights sum to 90"])
    remedy: str = Field(description="What to send instead.", examples=["Make them sum to 100."])


class ErrorResponse(ResponseModel):
    """Every error but those of the identity API. Match the status together with the code."""

    error_code: str = Field(
        description="`ModelArts.` and a number, or `APIG.` and one from the gateway (iam.md §6).",
        examples=["ModelArts.3037"],
    )
    error_msg: str = Field(
        description="What is wrong and what to do about it; the first of `problems`.",
        examples=["config[*].weight: the weights sum to 90. Make them sum to 100."],
    )
    message: str | None = Field(
        None, description="Code and message in one line, as OpenStack's clients print it."
    )
    problems: list[ProblemItem] | None = Field(
        None, description="Everything that is wrong with the request, in the order of the body."
    )
    preview: JsonObject | None = Field(
        None,
        description="With `dry_run=true`, where only quotas or pools refuse the change: the "
        "preview, without a `plan_token`.",
    )
    request_id: str | None = Field(
        None, description="The `X-Request-Id` of an answer that the gateway made."
    )


class IdentityErrorDetail(ResponseModel):
    """The error itself."""

    code: int = Field(description="The HTTP status.", examples=[401])
    message: str = Field(examples=["The username or password is wrong."])
    title: str = Field(description="The name of the status.", examples=["Unauthorized"])


class IdentityErrorResponse(ResponseModel):
    """Errors of the identity API, in Keystone's shape (iam.md §1)."""

    error: IdentityErrorDetail


class ModelErrorResponse(ResponseModel):
    """A prediction that the model failed to compute (inference.md §1.6)."""

    erno: str = Field(examples=["MR.0105"])
    msg: str = Field(examples=["Recognition failed"])
    words_result: JsonObject
