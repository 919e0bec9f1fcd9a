"""Tables from records: which items, which means, which differences; and how they are written."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import numpy as np
import pytest
import torch

from blinddps.evaluation import parse_spec
from blinddps.evaluation.learned import Features
from blinddps.evaluation.render import _escape, as_csv, as_latex, as_markdown, as_text
from blinddps.evaluation.store import Job
from blinddps.evaluation.tables import Table, make_tables
from blinddps.metrics import frechet_distance

TEXT = """
name = "a"
title = "50 % of_it"
reference = "ours"
seeds = [0, 1]
[data]
source = "x"
[[degradation]]
kind = "motion"
[[method]]
name = "input"
[[method]]
name = "known-kernel"
[[method]]
name = "ours"
label = "Ours & co"
options = { prior = "faces-128" }
[[method]]
name = "slow"
count = 2
options = { solver = "paper" }
[[published]]
method = "Theirs"
data = "FFHQ"
source = "a paper, Table 1"
values = { PSNR = 22.24, FID = 29.49 }
"""
SPEC = parse_spec(TEXT)
ITEMS = ["i0", "i1", "i2", "i3"]
PSNR = {  # of each item: the mean of its two seeds
    "input": [20.0, 21.0, 22.0, 23.0],
    "known-kernel": [30.0, 31.0, 32.0, 33.0],
    "ours": [25.0, 27.0, 26.0, 22.0],
    "slow": [24.0, 23.0],
}
PLAN = [Job(i, "motion", m, s, "key") for n, i in enumerate(ITEMS) for s in (0, 1) for m in PSNR if n < len(PSNR[m])]


def record(job: Job) -> dict[str, Any]:
    value = PSNR[job.method][ITEMS.index(job.item)] + (1 if job.seed else -1)
    metrics = {"psnr": value, "psnr_sub": value}
    if job.method in ("ours", "slow"):
        metrics["mnc_sub"] = 0.5
    return {"status": "finished", "metrics": metrics, "files": {}}


def tables(change: dict[Job, dict[str, Any]] | None = None, features: Features | None = None) -> list[Table]:
    records = {job: record(job) for job in PLAN} | (change or {})
    return make_tables(SPEC, PLAN, {job: r for job, r in records.items() if r}, features)


def cell(table: Table, method: str, metric: str) -> float:
    return next(r for r in table.rows if r.method.name == method).values[metric].mean


def job(item: str, method: str, seed: int = 0) -> Job:
    return Job(item, "motion", method, seed, "key")


FAILED = {"status": "failed", "metrics": {}, "files": {}}


def test_a_slow_method_is_compared_on_its_items_alone() -> None:
    whole, few = tables()
    assert whole.items == tuple(ITEMS)
    assert [r.method.name for r in whole.rows] == ["input", "known-kernel", "ours"]
    assert whole.note == "All 4 items; 'slow' was not run on all of them."
    assert few.items == ("i0", "i1")
    assert [r.method.name for r in few.rows] == list(PSNR)
    assert few.note == "2 of 4 items, on which every method was run."
    assert cell(whole, "ours", "psnr") == 25.0
    assert cell(few, "ours", "psnr") == 26.0  # of the two items that 'slow' has
    assert cell(few, "slow", "psnr") == 23.5
    assert next(r for r in whole.rows if r.method.name == "ours").values["psnr"].n == 4  # items, not seeds


def test_differences_ratios_and_what_ended_worse() -> None:
    whole, few = tables()
    slow = few.rows[3]
    assert slow.differences["psnr"].mean == -2.5
    assert (slow.differences["psnr"].low, slow.differences["psnr"].high) == (-4.0, -1.0)
    assert "psnr" not in few.rows[2].differences  # the reference itself
    ours = whole.rows[2]
    assert ours.worse == (1, 4)  # 22 below 23
    assert whole.rows[0].worse is None
    assert cell(whole, "ours", "error_over_ceiling") == pytest.approx(
        10 ** (np.mean([(b - a) / 10 for a, b in zip(PSNR["ours"], PSNR["known-kernel"], strict=True)]))
    )  # a geometric mean
    assert "error_over_ceiling" not in slow.differences
    assert cell(whole, "known-kernel", "error_over_ceiling") == pytest.approx(1)


def test_a_failure_costs_its_own_method_alone() -> None:
    (whole, few) = tables(
        {job("i1", "ours"): FAILED, job("i2", "ours"): {**record(job("i2", "ours")), "status": "rejected"}}
    )
    assert "over the n items that it has a picture of" in whole.note
    assert cell(whole, "input", "psnr") == pytest.approx((20 + 21 + 22 + 23) / 4)
    assert whole.rows[2].items == ("i0", "i2", "i3")
    assert cell(whole, "ours", "psnr") == pytest.approx((25 + 26 + 22) / 3)
    assert whole.rows[0].differences["psnr"].mean == pytest.approx((-5 - 4 + 1) / 3)
    counts = whole.rows[2].counts
    assert counts == {
        "finished": 6,
        "restored": 0,
        "doubtful": 0,
        "rejected": 1,
        "diverged": 0,
        "failed": 1,
        "missing": 0,
        "unscored": 0,
    }
    treated = whole.rows[2].with_failures["psnr"]
    assert (treated.n, treated.mean) == (4, pytest.approx((25 + (20 + 28) / 2 + 26 + 22) / 4))  # seed 0: its input's 20
    assert (few.rows[2].items, few.rows[3].items) == (("i0",), ("i0", "i1"))
    assert few.rows[3].differences["psnr"].n == 1  # what both have


def test_a_method_that_always_fails_takes_no_items_from_the_others() -> None:
    whole, _ = tables({j: FAILED for j in PLAN if j.method == "ours"})
    assert whole.rows[0].items == tuple(ITEMS)
    assert whole.rows[2].with_failures["psnr"].mean == cell(whole, "input", "psnr")
    assert whole.rows[2].values == {}
    assert whole.rows[2].counts["failed"] == 8
    assert whole.reference is None  # nothing to compare with


def test_an_item_that_could_not_be_measured_hides_no_other_failure() -> None:
    bad = {j: FAILED for j in PLAN if j.item == "i0"} | {job("i1", "ours", s): FAILED for s in (0, 1)}
    whole, _ = tables(bad)
    assert whole.scored == ("i1", "i2", "i3")
    assert "1 of them have no picture from any method" in whole.note
    treated = whole.rows[2].with_failures["psnr"]
    assert (treated.n, treated.mean) == (3, pytest.approx((21 + 26 + 22) / 3))


def test_a_run_on_its_way() -> None:
    late = {j: {} for j in PLAN if j.item == "i3" and j.method == "ours"}
    first, second, third = tables(late)
    assert [len(t.items) for t in (first, second, third)] == [4, 3, 2]
    assert [r.method.name for r in second.rows] == ["input", "known-kernel", "ours"]
    assert tables({j: {} for j in PLAN}) == []
    half = {job("i3", "ours", 1): {}}
    assert next(r for r in tables(half)[0].rows if r.method.name == "ours").counts["missing"] == 1


def test_means_are_of_the_same_seeds() -> None:
    whole, _ = tables({job("i3", "ours", 1): {}})
    assert cell(whole, "input", "psnr") == pytest.approx((20 + 21 + 22 + 22) / 4)  # of i3 seed 0 alone, as of 'ours'
    assert cell(whole, "ours", "psnr") == pytest.approx((25 + 27 + 26 + 21) / 4)
    assert "1 seeds of items are left out, which not every method was run with" in whole.note


def test_a_measure_that_one_result_lacks() -> None:
    bare = {"status": "finished", "metrics": {"psnr": 30.0}, "files": {"image": "x.png"}}
    whole, _ = tables({job("i1", "ours"): bare, job("i2", "known-kernel"): bare})
    assert whole.rows[2].values["psnr"].n == 4
    assert whole.rows[2].values["psnr_sub"].n == 3
    assert whole.rows[2].values["error_over_ceiling"].n == 2
    text = as_text(SPEC, [whole], [])
    means, differences = text.split("Difference from 'Ours & co', item by item, over the n items that both have")
    assert re.search(r"Ours & co +4 +[\d.]+ \[[\d., ]+\] \(n 3\)  +[\d.]+ \[[\d., ]+\]  ", means)
    assert (
        means.count("(n ") == 6
    )  # aligned PSNR, MNC and ratio of ours, PSNR and ratio of the ceiling, ratio of the input
    assert re.search(r"^input +4 +\S+ \[[^(]*\] \(n 3\)  +\S+ \[", differences, re.MULTILINE)
    assert "($n=3$)" in as_latex(SPEC, [whole])


def test_levins_items_are_drawn_by_picture() -> None:
    text = TEXT.replace('source = "x"', 'source = "x"\nlayout = "levin"').replace("seeds = [0, 1]", "seeds = [0]")
    names = [f"{n:05d}-im{n // 4}_kernel{n % 4}" for n in range(8)]
    plan = [Job(name, "motion", "input", 0, "key") for name in names]
    values = {name: 20.0 + 10 * (n // 4) for n, name in enumerate(names)}
    found = {j: {"status": "finished", "metrics": {"psnr": values[j.item]}, "files": {}} for j in plan}
    ours = {Job(j.item, "motion", "ours", 0, "key"): r for j, r in found.items()}
    (table,) = make_tables(parse_spec(text), [*plan, *ours], found | ours)
    interval = table.rows[0].values["psnr"]
    assert (interval.mean, interval.low, interval.high, interval.n) == (25, 20, 30, 8)  # two pictures, not eight
    assert "The items are of 2 pictures, which the intervals resample" in table.note


def test_fid_is_of_the_common_items() -> None:
    g = torch.Generator().manual_seed(0)
    result, truth = ({j: torch.randn(6, generator=g).numpy() for j in PLAN} for _ in range(2))
    whole, few = tables(features=Features(result, truth))
    chosen = [j for j in PLAN if j.method == "ours" and j.item in few.items]
    assert next(r for r in few.rows if r.method.name == "ours").values["fid"].n == 4
    expected = frechet_distance(*(torch.from_numpy(np.stack([f[j] for j in chosen])) for f in (result, truth)))
    assert cell(few, "ours", "fid") == pytest.approx(expected)
    assert "fid" not in whole.rows[0].values


def test_text() -> None:
    text = as_text(SPEC, tables({job("i1", "ours"): FAILED}), ["a remark"])
    assert text.startswith("50 % of_it\n* a remark\n")
    assert "1 failed" in text
    assert re.search(r"Theirs +FFHQ +22\.24 +29\.49 +a paper, Table 1", text)
    assert text.count("Theirs") == 1
    assert "All items that could be measured: a failure counts as its input (intention to treat):" in text
    assert re.search(r"Ours & co +4 +24\.25 \[", text)
    assert re.search(r"Ours & co +3 +24\.33 \[22\.00, 26\.00\]", text)


def test_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(SPEC, tables({job("i1", "ours"): FAILED})))))
    (one,) = [r for r in rows if (r["items"], r["method"], r["metric"]) == ("4", "input", "psnr")]
    assert float(one["mean"]) == pytest.approx((20 + 21 + 22 + 23) / 4)
    assert (one["difference_n"], one["treated_n"]) == ("3", "")
    assert (one["n"], one["reference"], one["finished"], one["failed"]) == ("4", "ours", "8", "0")
    assert float(one["difference"]) == pytest.approx((-5 - 4 + 1) / 3)
    (ours,) = [r for r in rows if (r["items"], r["method"], r["metric"]) == ("4", "ours", "psnr")]
    assert (ours["failed"], ours["difference"]) == ("1", "")
    assert (ours["n"], ours["treated_n"], float(ours["treated"])) == ("3", "4", 24.25)
    theirs = [r for r in rows if r["method"] == "Theirs"]
    assert {(r["metric"], r["mean"], r["source"]) for r in theirs} == {
        ("PSNR", "22.24", "a paper, Table 1; FFHQ"),
        ("FID", "29.49", "a paper, Table 1; FFHQ"),
    }
    assert all(None not in r and None not in r.values() for r in rows)  # every line has every column


def test_latex() -> None:
    text = as_latex(SPEC, tables())
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == 3  # two of ours, theirs once
    failed = as_latex(SPEC, tables({job("i1", "ours"): FAILED}))
    assert failed.count("\\begin{tabular}") == failed.count("\\end{tabular}") == 5  # and failures as inputs
    assert re.search(r"Ours \\& co & 4 & 24\.25 \{", failed)
    assert "Ours \\& co" in text
    assert "50 \\% of\\_it" in text
    columns = re.findall(r"\\begin\{tabular\}\{(l r*|lr*)\}", text)
    assert re.search(r"Theirs & FFHQ & 22\.24 & 29\.49 & a paper, Table 1 ", text)
    assert (
        _escape("a  <b>\n\n|c|") == "a \\textless{}b\\textgreater{} \\textbar{}c\\textbar{}"
    )  # no paragraph in a caption
    assert _escape("[fast]*") == "{[}fast{]}{*}"  # at the beginning of a row no argument of the break before it
    assert _escape("{a^b~c}\\") == "\\{a\\textasciicircum{}b\\textasciitilde{}c\\}\\textbackslash{}"
    bodies = re.findall(r"\\midrule\n(.*?)\\bottomrule", text, re.DOTALL)
    for form, body in zip(columns, bodies, strict=True):
        lines = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert lines
        assert all(len(re.findall(r"(?<!\\)&", line)) == len(form) - 1 for line in lines)
    assert re.search(r"Ours \\& co & 2 & \\textbf\{26\.00\} \{\\scriptsize\[25\.00, 27\.00\]\}", text)


def test_csv_has_the_inputs_of_a_method_that_always_fails() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(SPEC, tables({j: FAILED for j in PLAN if j.method == "ours"})))))
    (ours,) = [r for r in rows if (r["items"], r["method"], r["metric"]) == ("4", "ours", "psnr")]
    assert (ours["n"], ours["mean"], ours["treated_n"], float(ours["treated"])) == ("", "", "4", 21.5)
    assert ours["failed"] == "8"


def test_markdown() -> None:
    spec = SPEC.model_copy(
        update={
            "published": (
                SPEC.published[0].model_copy(update={"method": "Their|s", "values": {"PSNR": 22.24, "k-MSE": 0.003}}),
            ),
            "method": tuple(m.model_copy(update={"label": m.label.replace("&", "<b> *&*")}) for m in SPEC.method),
        }
    )
    records = {j: record(j) for j in PLAN} | {job("i1", "ours"): FAILED}
    for j, r in records.items():
        if "mnc_sub" in r["metrics"]:
            records[j] = {**r, "metrics": {**r["metrics"], "kernel_mse_max": 0.004, "nfe": 92.0}}
    text = as_markdown(spec, make_tables(spec, PLAN, records))
    assert text.startswith("## 50 % of\\_it\n\n### motion\n\nAll 4 items; 'slow' was not run on all of them.")
    assert text.count("### motion") == 1
    whole, few = (part.splitlines() for part in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE))
    assert whole[0] == "| method | n | PSNR sub-px | PSNR | MNC sub-px | k-MSE max | worse | NFE |"
    assert r"| Ours \<b\> \*&\* co | 3 | 24.33 | 24.33 | 0.500 | 0.0040 | 1 of 3 | 92 |" in whole
    assert "| input | 4 | 21.50 | 21.50 | – | – | – | – |" in whole
    assert r"| *Their\|s*, FFHQ | – | – | 22.24 | – | 0.003 | – | – |" in whole
    assert "| slow | 2 | 23.50 | 23.50 | 0.500 | 0.0040 | 0 of 2 | 92 |" in few
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 9 for line in (*whole, *few))
    assert r"Ours \<b\> \*&\* co: 1 failed. In italics, published figures on other data: a paper, Table 1." in text
    entity = spec.model_copy(update={"title": "a &lt; b & c"})
    assert as_markdown(entity, []) == "## a \\&lt; b & c\n"
    unbroken = as_markdown(SPEC, tables())
    assert "| Ours & co | 2 | **26.00** | **26.00** |" in unbroken
    assert "| *Theirs*, FFHQ | – | – | 22.24 | – | – | 29.49 |" in unbroken  # what we have no value of comes last


def test_names_of_columns_and_methods_break_no_table() -> None:
    """Heads are names of published measures: any text."""
    odd = SPEC.published[0].model_copy(update={"values": {"a|b <i>\n| x": 1.0, "PSNR": 2.0, "[c]*": 3.0}})
    labels = tuple(m.model_copy(update={"label": f"{m.label}\n|x"}) for m in SPEC.method)
    spec = SPEC.model_copy(update={"published": (odd,), "method": labels})
    found = make_tables(spec, PLAN, {j: record(j) for j in PLAN})
    for part in re.findall(r"(?:^\|.*\n)+", as_markdown(spec, found), re.MULTILINE):
        lines = part.splitlines()
        assert lines[0].endswith(r"| a\|b \<i\> \| x | \[c\]\* |")
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    text = as_text(spec, found, [])
    assert "ours" not in text
    assert re.search(r"^Ours & co \|x +4 ", text, re.MULTILINE)
    assert re.search(r"^method +data +a\|b <i> \| x +PSNR +\[c\]\* +source$", text, re.MULTILINE)
    tex = as_latex(spec, found)
    assert tex.count("a\\textbar{}b \\textless{}i\\textgreater{} \\textbar{} x & PSNR & {[}c{]}{*}") == 1
    rows = list(csv.DictReader(io.StringIO(as_csv(spec, found))))
    assert "a|b <i>\n| x" in {r["metric"] for r in rows}
