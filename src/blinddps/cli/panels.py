"""``--help`` of commands with many options, in parts."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

__all__ = ["OUTPUT", "PAPER", "SOLVER", "InPanels"]

SOLVER = "Solver"
PAPER = "Solver paper, and what is made of it (uniform, dps)"
OUTPUT = "Output and machine"


class InPanels(TyperCommand):
    """A command whose options stand under the names that ``rich_help_panel`` gives them; the usual ones come first."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        parts: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                other = "Arguments" if param.param_type_name == "argument" else "Options"
                parts.setdefault(getattr(param, "rich_help_panel", None) or other, []).append(record)
        for name, records in parts.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)
