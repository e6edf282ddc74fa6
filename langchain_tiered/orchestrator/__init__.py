"""`create_orchestrator`: the most capable tier plans, smaller ones work in parallel, and a reviewer judges."""

from langchain_tiered.orchestrator.events import TaskEvent
from langchain_tiered.orchestrator.factory import create_orchestrator
from langchain_tiered.orchestrator.plans import Plan, PlannedTask
from langchain_tiered.orchestrator.results import OrchestratorInput, OrchestratorOutput, OrchestratorState, TaskResult

__all__ = [
    "OrchestratorInput",
    "OrchestratorOutput",
    "OrchestratorState",
    "Plan",
    "PlannedTask",
    "TaskEvent",
    "TaskResult",
    "create_orchestrator",
]
