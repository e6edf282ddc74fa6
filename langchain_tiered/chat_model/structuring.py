"""What `with_structured_output` makes of a `TieredChatModel`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from langchain_core.runnables import RunnableLambda, RunnableMap, RunnablePassthrough

from langchain_tiered.chat_model.binding import STRUCTURED, Method, Structured, Tools, is_class

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable


def structured_by(
    model: BaseChatModel,
    schema: Any,
    method: Method,
    options: dict[str, Any],
    *,
    include_raw: bool,
    strict: bool | None,
) -> Runnable[LanguageModelInput, Any]:
    """Return a runnable that answers in a schema.

    Args:
        model: The tiered model.
        schema: What the answer must fit.
        method: How it is asked for.
        options: What else the tiers' models take.
        include_raw: Whether the message is wanted too, and an error beside it instead of one that is raised.
        strict: Whether the provider must hold the answer to the schema.

    Raises:
        ValueError: If the method is unknown, lacks its schema, or does not take `strict`.
    """
    _expect_method(schema, method, strict)
    options = options if strict is None else {"strict": strict, **options}
    wanted = Structured(schema, _method_for(schema, method), options, include_raw=include_raw)
    told = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    shown = {"tools": Tools(wanted.tools, {})} if wanted.tools else {}
    bound = model.bind(**{STRUCTURED: wanted}, **shown, ls_structured_output_format=told)
    if not include_raw:
        return bound | RunnableLambda(wanted.parsed)
    # LangChain's own way, a fallback for whoever parses, comes too late in a stream: what is raw was given by then.
    parsed = RunnablePassthrough.assign(
        parsed=lambda given: _outcome(wanted, given["raw"])[0],
        parsing_error=lambda given: _outcome(wanted, given["raw"])[1],
    )
    return RunnableMap(raw=bound) | parsed


def _outcome(wanted: Structured, message: AIMessage) -> tuple[Any, Exception | None]:
    """Return the value in a message, or why there is none."""
    try:
        return wanted.parsed(message), None
    except Exception as error:  # noqa: BLE001  (a class may raise anything over what it is given)
        return None, error


def _expect_method(schema: Any, method: Any, strict: bool | None) -> None:  # noqa: FBT001  (LangChain's own name)
    if method not in get_args(Method):
        raise ValueError(f"Unrecognized method {method!r}. Methods: {', '.join(get_args(Method))}.")
    if schema is None and method != "json_mode":
        raise ValueError(f"method={method!r} needs a schema, and none was given. Only 'json_mode' does without.")
    if strict is not None and method == "json_mode":
        raise ValueError("strict is not taken by method='json_mode'. Leave it out, or take 'json_schema'.")


def _method_for(schema: Any, method: Method) -> Method:
    """Return the method; a class of pydantic 1 can only be asked for as a tool, as `ChatOpenAI` does."""
    is_old = method == "json_schema" and is_class(schema) and not hasattr(schema, "model_validate")
    return "function_calling" if is_old else method
