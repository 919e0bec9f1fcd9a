"""Benchmarks: methods on seeded measurements, a record for each, tables and a report. Imports all rooms but the last.

``run_bench(load_spec("table1.toml"), "runs/table1", data="data")``, then ``make_report("runs/table1")``.
"""

from .learned import LearnedWeights
from .merge import Merged, merge_runs, shard_of
from .report import Report, make_report, report_outputs
from .runner import Summary, run_bench
from .spec import Spec, builtin_specs, load_spec, parse_spec
from .statistics import Interval, bootstrap_mean, paired_difference

__all__ = [
    "Interval",
    "LearnedWeights",
    "Merged",
    "Report",
    "Spec",
    "Summary",
    "bootstrap_mean",
    "builtin_specs",
    "load_spec",
    "make_report",
    "merge_runs",
    "paired_difference",
    "parse_spec",
    "report_outputs",
    "run_bench",
    "shard_of",
]
