"""The report of a real, tiny run: page, learned measures, curves."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from torch import nn

import blinddps
from blinddps.core import InputError
from blinddps.evaluation import LearnedWeights, make_report, parse_spec, run_bench
from blinddps.evaluation import store as store_module
from blinddps.evaluation.curves import COLOURS, Curve, chart, mean_curves
from blinddps.evaluation.learned import lpips_scores
from blinddps.evaluation.records import read_record
from blinddps.evaluation.store import Job, Store
from blinddps.io import write_image
from blinddps.metrics import FidInception, Lpips

VOID = {"meta", "img", "br", "line", "polyline"}


class Page(HTMLParser):
    """Checks that tags close in order; collects links and the text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.tags: list[str] = []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(v) for k, v in attrs if k in ("src", "href", "srcset", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def run(spec_text: Callable[..., str], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("a run & more")
    methods = {"input": "", "known-kernel": "", "fast": "num_steps = 3", "wild": 'solver = "paper", step_size = 1e30'}
    published = '[[published]]\nmethod = "Theirs <1>"\ndata = "FFHQ"\nsource = "a paper"\nvalues = { PSNR = 22.24 }'
    text = spec_text(
        methods, top='trace = true\nreference = "fast"\nabout = "Says <b>this</b> & that."', extra=published
    )
    run_bench(parse_spec(text), out, data=data, source=text, progress=False)
    return out


def test_items_are_what_the_means_are_of(run: Path) -> None:
    make_report(run)
    lines = list(csv.DictReader((run / "items.csv").read_text().splitlines()))
    means = list(csv.DictReader((run / "tables.csv").read_text().splitlines()))
    assert len(lines) == len(json.loads((run / "plan.json").read_text()))
    assert {line["status"] for line in lines if line["method"] == "wild"} == {"diverged"}
    for mean in (m for m in means if m["metric"] in ("psnr", "psnr_sub", "mnc_sub") and m["n"]):
        found = [
            float(line[mean["metric"]])
            for line in lines
            if (line["method"], line["degradation"]) == (mean["method"], mean["degradation"]) and line[mean["metric"]]
        ]
        assert np.mean(found) == pytest.approx(float(mean["mean"]), rel=1e-4)
    job = next((run / "records").glob("*/fast/*.json"))
    job.rename(run / "kept.json")
    make_report(run)
    (run / "kept.json").rename(job)
    lines = list(csv.DictReader((run / "items.csv").read_text().splitlines()))
    assert [line["method"] for line in lines if line["status"] == "missing"] == ["fast"]


def test_page(run: Path) -> None:
    report = make_report(run)
    names = ["tables.txt", "tables.csv", "items.csv", "tables.tex", "tables.md", "report.html"]
    assert [f.name for f in report.files] == names
    content = (run / "report.html").read_text()
    page = Page(content)
    assert "://" not in content  # nothing from elsewhere: no script, font or picture
    assert "script" not in page.tags
    assert "url(" not in content
    assert len(page.links) > 20
    for link in page.links:
        assert (run / unquote(link)).is_file(), link
        assert not Path(unquote(link)).is_absolute()
    shown = {Path(unquote(link)).name for link in page.links}
    assert {"00001-p1.s0.input.png", "00001-p1.s0.truth.png", "00001-p1.s0.kernel.png", "00001-p1.s0.png"} <= shown
    assert "Says <b>this</b> & that." in page.text  # as text, not as a tag
    assert "Theirs <1>" in page.text
    assert "2 diverged" in page.text
    assert "All items that could be measured: a failure counts as its input" in page.text
    assert "LPIPS (vgg): not computed; give its weights as --lpips-vgg FILE." in page.text
    assert "FID: not computed" in page.text
    assert f"Command: {shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}." in page.text
    assert f"Versions: blinddps {blinddps.__version__}, python " in page.text
    assert content.count("<svg") == 4  # image and kernel, of two degradations
    assert "fast (3 steps)" in page.text
    assert page.text.count("mean of n = 2 restorations") == 4
    assert "wild (" not in page.text  # it diverged, so its steps are not the share of all that they would seem
    assert content.count("<div class='wide' tabindex='0'><table>") == page.tags.count(
        "table"
    )  # none wider than the page
    assert 'name="viewport"' in content
    assert report.text == (run / "tables.txt").read_text()


def test_records_of_an_earlier_version_are_told_apart(run: Path, tmp_path: Path) -> None:
    """They were aligned in whole pixels, and called that psnr_aligned and mnc."""
    old = tmp_path / "old"
    shutil.copytree(run, old)
    now = list(csv.DictReader((run / "tables.csv").read_text().splitlines()))
    for path in (old / "records").rglob("*.json"):
        record = json.loads(path.read_text())
        earlier = {"psnr_whole": "psnr_aligned", "mnc_whole": "mnc"}
        kept = {earlier.get(k, k): v for k, v in record["metrics"].items() if not k.endswith("_sub")}
        path.write_text(json.dumps(record | {"metrics": kept}))
    text = make_report(old).text
    assert "12 records are of an earlier version, which aligned in whole pixels: they have no sub-pixel" in text
    assert "worse" in text
    rows = list(csv.DictReader((old / "tables.csv").read_text().splitlines()))
    assert [r for r in rows if "_sub" in r["metric"] or r["metric"] == "error_over_ceiling"] == []
    for name in ("psnr_whole", "mnc_whole", "error_over_ceiling_whole", "psnr"):
        expected = [
            (r["degradation"], r["method"], r["mean"]) for r in now if r["metric"] == name and r["source"] == ""
        ]
        assert expected
        assert [(r["degradation"], r["method"], r["mean"]) for r in rows if r["metric"] == name] == expected
    items = (old / "items.csv").read_text().splitlines()[0]
    assert "psnr_whole" in items
    assert "psnr_aligned" not in items
    make_report(run)
    assert "earlier version" not in (run / "tables.txt").read_text()


def test_lpips_after_alignment(tmp_path: Path) -> None:
    torch.manual_seed(0)
    alex = Lpips("alex")
    for module in alex.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    torch.save({k: v for k, v in alex.state_dict().items() if k.startswith("features")}, tmp_path / "alexnet.pth")
    y, x = np.mgrid[:64, :64]

    def waves(down: float, right: float) -> np.ndarray:
        a, b = y + down, x + right
        return np.stack([np.sin(0.9 * a + 0.3 * b + n) + np.cos(0.7 * b - 0.5 * a * n) for n in range(3)], -1) / 5 + 0.5

    job, small = (Job(name, "motion", "fast", 0, "key") for name in ("wide", "small"))
    for name, size in (("wide", 64), ("small", 40)):  # a frame of 24 pixels is too small for the network
        for kind, shift in (("result", (0.4, -2.5)), ("truth", (0, 0))):
            write_image(tmp_path / f"{name}.{kind}.png", waves(*shift)[:size, :size].astype(np.float32), dtype=np.uint8)

    class Files:
        folder = tmp_path

        def result(self, job: Job, record: dict[str, Any], kind: str) -> Path:
            return tmp_path / f"{job.item}.result.png"

        def picture(self, job: Job, record: dict[str, Any], kind: str) -> Path:
            return tmp_path / f"{job.item}.truth.png"

    store: Any = Files()
    scores, _ = lpips_scores(store, {job: {}, small: {}}, "alex", tmp_path / "alexnet.pth")
    assert scores[job]["_sub"] < 0.05 * scores[job][""]
    assert set(scores[small]) == {""}
    assert lpips_scores(store, {job: {}, small: {}}, "alex", tmp_path / "alexnet.pth")[0] == scores


def test_learned_measures_by_the_real_path(run: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    alex, inception = Lpips("alex"), FidInception()
    for module in (*alex.modules(), *inception.modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    torch.save({k: v for k, v in alex.state_dict().items() if k.startswith("features")}, tmp_path / "alexnet.pth")
    torch.save(inception.state_dict(), tmp_path / "inception.pth")
    weights = LearnedWeights(lpips_alex=tmp_path / "alexnet.pth", inception=tmp_path / "inception.pth")
    report = make_report(run, weights)
    assert "LPIPS (alex): computed with alexnet.pth (sha256 " in report.text
    assert "FID: computed with inception.pth" in report.text
    assert report.text.count("NOT known to be the published weights") == 2  # random ones pass under no other name
    assert "LPIPS (vgg): not computed" in report.text
    rows = list(csv.DictReader((run / "tables.csv").read_text().splitlines()))
    found = {(r["degradation"], r["method"]): float(r["mean"]) for r in rows if r["metric"] == "lpips_alex" and r["n"]}
    assert set(found) == {(d, m) for d in ("motion", "soft") for m in ("input", "known-kernel", "fast")}
    assert all(v > 0 for v in found.values())
    fid = {(r["degradation"], r["method"]): float(r["mean"]) for r in rows if r["metric"] == "fid"}
    assert fid[("motion", "fast")] > 0
    before = (run / "report.html").read_text()
    caches = {p: p.stat().st_mtime_ns for p in (run / "learned").iterdir()}
    assert len(caches) == 2
    make_report(run, weights)
    assert (run / "report.html").read_text() == before
    assert {p: p.stat().st_mtime_ns for p in (run / "learned").iterdir()} == caches  # computed once

    def values(metric: str) -> dict[tuple[str, str], str]:
        rows = list(csv.DictReader((run / "tables.csv").read_text().splitlines()))
        return {(r["degradation"], r["method"]): r["mean"] for r in rows if r["metric"] == metric and r["n"]}

    lpips, distance = values("lpips_alex"), values("fid")
    files = [
        run / "pictures" / "motion" / place for place in ("fast/00000-p0.s0.png", "_measured/00001-p1.s0.truth.png")
    ]
    for file in files:  # another picture under the same key, as a retry or an edited crop leaves
        kept = file.read_bytes()
        write_image(file, np.random.default_rng(0).random((32, 32, 3), dtype=np.float32))
        make_report(run, weights)
        assert values("lpips_alex")[("motion", "fast")] != lpips[("motion", "fast")]
        assert values("fid")[("motion", "fast")] != distance[("motion", "fast")]
        file.write_bytes(kept)
    make_report(run, weights)
    assert values("lpips_alex") == lpips
    assert values("fid") == distance


def test_files_that_no_report_wrote_stay(run: Path, tmp_path: Path) -> None:
    out = _copy(run, tmp_path)
    for name in (
        "report.json",
        "report.html",
        "items.csv",
        *(f"tables.{kind}" for kind in ("txt", "csv", "tex", "md")),
    ):
        (out / name).unlink(missing_ok=True)
    (out / "report.html").write_text("mine")
    with pytest.raises(InputError, match=r"report\.html' is there and no record of an earlier result names it"):
        make_report(out)
    assert (out / "report.html").read_text() == "mine"
    assert not (out / "tables.txt").exists()
    (out / "report.html").unlink()
    make_report(out)
    (out / "report.json").unlink()  # as version 0.1 left it
    make_report(out)
    make_report(out)
    (out / "report.json").write_text("{}")
    with pytest.raises(InputError, match="is there and no record"):
        make_report(out)


def test_folders_that_are_none_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder of 'bench run'"):
        make_report(tmp_path)


def test_a_chart_is_of_the_restorations_that_every_method_has() -> None:
    one = {"a": np.array([1.0, 3.0]), "b": np.array([3.0, 5.0]), "c": np.array([9.0]), "d": np.array([np.nan, 7.0])}
    two = {"b": np.array([4.0]), "d": np.array([6.0]), "e": np.array([100.0]), "f": np.array([np.nan])}
    means, count = mean_curves({"one": one, "two": two})
    assert count == 2  # b and d
    assert means["one"].tolist() == pytest.approx([np.nan, 6.0], nan_ok=True)  # d has no first value: no mean there
    assert means["two"].tolist() == [5.0]
    alone, count = mean_curves({"one": one})
    assert (count, alone["one"][1]) == (3, 5.0)  # c ended early
    means, count = mean_curves({"one": one, "none": {"f": np.array([np.nan])}, "other": {"z": np.array([1.0])}})
    assert (list(means), count) == (["one"], 3)
    assert mean_curves({}) == ({}, 0)


def test_chart() -> None:
    x, gap = np.array([0.5, 1.0]), np.array([1e-2, np.nan, 1e-2, 1e-2])
    svg = chart(
        "a < b",
        [
            Curve("same", x, np.array([1e-3, 1e-1]), 0),
            Curve("same", x, np.array([np.nan, 1e-2]), 3),
            Curve("with a gap", np.arange(4) / 3, gap, len(COLOURS)),
        ],
    )
    page = Page(svg)
    assert page.text.count("same") == 2  # two methods of one label are two curves
    one, two, dot, rest = re.findall(r'points="([^"]*)"', svg)
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in one.split())
    assert x1 > x0
    assert y1 < y0  # up is more
    assert len(set(two.split())) == len(set(dot.split())) == 1
    assert len(rest.split()) == 2  # no line over what has no value
    _, middle = map(float, two.split()[0].split(","))
    assert middle == pytest.approx((y0 + y1) / 2, abs=0.2)  # the axis is logarithmic
    colours = re.findall(r'<polyline[^>]*stroke="([^"]*)"', svg)
    assert colours == [COLOURS[0], COLOURS[3], COLOURS[0], COLOURS[0]]  # of the method, not of its place in the chart
    assert svg.count("stroke-dasharray") == 2  # a colour that is used again
    assert chart("none", [Curve("zero", x, np.zeros(2), 0)]) == ""


def _copy(run: Path, out: Path) -> Path:
    return Path(shutil.copytree(run, out / "copy"))


def test_pictures_that_were_removed_are_not_shown(run: Path, tmp_path: Path) -> None:
    out = _copy(run, tmp_path)
    for kind in ("", ".kernel", ".trace"):
        for path in (out / "pictures/motion/fast").glob(f"00000-p0.s0{kind}.*"):
            path.unlink()
    torch.manual_seed(0)
    torch.save({k: v for k, v in Lpips("alex").state_dict().items() if k[0] == "f"}, tmp_path / "alexnet.pth")
    make_report(out, LearnedWeights(lpips_alex=tmp_path / "alexnet.pth"))
    page = Page((out / "report.html").read_text())
    assert all((out / unquote(link)).is_file() for link in page.links)
    assert "mean of n = 1 restorations, the same of every method; 1 that not every method has are left out" in page.text


def test_a_picture_of_another_size_costs_no_report(run: Path, tmp_path: Path) -> None:
    out = _copy(run, tmp_path)
    write_image(out / "pictures/motion/fast/00000-p0.s0.png", np.zeros((30, 32, 3), dtype=np.float32))
    torch.manual_seed(0)
    torch.save({k: v for k, v in Lpips("alex").state_dict().items() if k[0] == "f"}, tmp_path / "alexnet.pth")
    make_report(out, LearnedWeights(lpips_alex=tmp_path / "alexnet.pth"))
    rows = list(csv.DictReader((out / "tables.csv").read_text().splitlines()))
    (row,) = [r for r in rows if (r["degradation"], r["method"], r["metric"]) == ("motion", "fast", "lpips_alex")]
    assert row["n"] == "1"
    assert "(n 1)" in (out / "tables.txt").read_text()


def test_a_plan_of_an_earlier_spec(run: Path, tmp_path: Path) -> None:
    out = _copy(run, tmp_path)
    spec = json.loads((out / "spec.json").read_text())
    spec["method"] = [m for m in spec["method"] if m["name"] != "wild"]
    (out / "spec.json").write_text(json.dumps(spec))  # as a run leaves it that is killed before it writes its plan
    assert "wild" not in make_report(out).text


def test_a_record_that_is_replaced_while_it_is_read(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(_copy(run, tmp_path))
    job = store.plan()[0]
    assert store.record(job) is not None

    def too_late(path: Path) -> dict[str, Any]:
        path.unlink()  # by the run that is at work
        return read_record(path)

    monkeypatch.setattr(store_module, "read_record", too_late)
    assert store.record(job) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[]", "it holds no JSON object"),
        (b"{", "it is no JSON"),
        (b"\xff\xfe{", "it is not UTF-8 text"),
        (b'{"a":' * 100_000, "nested deeper than 64 levels"),
        ({"metrics": []}, "metrics: input should be a valid dictionary"),
        ({"metrics": {"psnr": "high"}}, "metrics.psnr: input should be a valid number"),
        ({"status": "fine"}, "status: input should be"),
        ({"files": {"image": "../../../spec.json"}}, "files.image: string should match pattern"),
        ({"files": {"image": "/etc/hostname"}}, "files.image: string should match pattern"),
        ({"files": None}, "files: input should be a valid dictionary"),
        ({"message": 3}, "message: input should be a valid string"),
        ({"unscored": "none"}, "unscored: input should be a valid list"),
    ],
)
def test_a_damaged_record_is_left_out_and_named(run: Path, tmp_path: Path, content: Any, reason: str) -> None:
    store = Store(_copy(run, tmp_path))
    job = store.plan()[0]
    path = store.record_path(job)
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text()), **content}).encode()
    path.write_bytes(content)
    told = make_report(store.folder).text
    (line,) = [line for line in told.splitlines() if "Left out" in line]
    assert str(path) in line
    assert reason in line
    assert line.endswith("; remove it and run the benchmark again.")
    assert f"{len(store.plan()) - 1} of {len(store.plan())} jobs done." in told
    assert line.removeprefix("* ") in Page((store.folder / "report.html").read_text()).text
    rows = list(csv.DictReader((store.folder / "items.csv").read_text().splitlines()))
    key = (job.degradation, job.item, str(job.seed), job.method)
    (row,) = [r for r in rows if (r["degradation"], r["item"], r["seed"], r["method"]) == key]
    assert row["status"] == "missing"


def test_a_damaged_trace_is_left_out_and_named(run: Path, tmp_path: Path) -> None:
    out = _copy(run, tmp_path)
    traces = sorted(out.glob("pictures/motion/fast/*.trace.npz"))
    whole = traces[0].read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2], whole[:100] + b"\xff" * 20 + whole[120:]):
        traces[0].write_bytes(content)
        (line,) = [line for line in make_report(out).text.splitlines() if "Left out" in line]
        assert f"trace '{traces[0]}' cannot be read (" in line
        assert "<svg" in (out / "report.html").read_text()
    np.savez(traces[0], image_mse=np.zeros((2, 2)))
    assert "(its arrays are not rows of numbers)" in make_report(out).text


def test_links_out_of_the_run_are_not_followed(run: Path, tmp_path: Path) -> None:
    store = Store(_copy(run, tmp_path))
    (job,) = [j for j in store.plan() if (j.degradation, j.method, j.item) == ("motion", "fast", "00000-p0")]
    picture = store.folder / "pictures/motion/fast/00000-p0.s0.png"
    outside = tmp_path / "outside.png"
    picture.rename(outside)
    picture.symlink_to(outside)
    assert store.result(job, store.record(job) or {}, "image") is None
    make_report(store.folder)
    assert "motion/fast/00000-p0.s0.png" not in (store.folder / "report.html").read_text()
    record = store.record_path(job)
    record.rename(tmp_path / "record.json")
    record.symlink_to(tmp_path / "record.json")
    assert "is no file of the run" in make_report(store.folder).text


@pytest.mark.parametrize(
    "changes",
    [{"method": "../fast"}, {"item": "/etc/x"}, {"degradation": ""}, {"seed": "0"}, {"key": None}, {"more": 1}],
)
def test_a_damaged_plan(run: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    out = _copy(run, tmp_path)
    plan = json.loads((out / "plan.json").read_text())
    (out / "plan.json").write_text(json.dumps([plan[0] | changes, *plan[1:]]))
    with pytest.raises(InputError, match=r"^plan '.*plan\.json' is damaged \(0\..*\); run the benchmark again$"):
        make_report(out)


def test_calls_that_are_damaged_are_left_out(run: Path, tmp_path: Path) -> None:
    out = _copy(run, tmp_path)
    before = make_report(out).text
    with open(out / "runs.jsonl", "ab") as file:
        file.write(b'[1]\n"x"\n{"command": 3}\n{"command": []}\n\xff\xfe\n' + b"[" * 100_000 + b'\n{"comm')
    assert make_report(out).text == before


def test_heads_are_shown_as_they_are(run: Path, tmp_path: Path) -> None:
    out = _copy(run, tmp_path)
    spec = json.loads((out / "spec.json").read_text())
    head = "a|b*c* <i>_d_ \\ & $x$ # %"
    spec["published"][0]["values"] = {head: 1.0, "two\nlines": 2.0}
    (out / "spec.json").write_text(json.dumps(spec))
    make_report(out)
    markdown = (out / "tables.md").read_text()
    assert r"| a\|b\*c\* \<i\>\_d\_ \\ & $x$ \# % | two lines |" in markdown
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert (
        r"a\textbar{}b{*}c{*} \textless{}i\textgreater{}\_d\_ \textbackslash{} \& \$x\$ \# \%"
        in (out / "tables.tex").read_text()
    )
    page = (out / "report.html").read_text()
    assert "<i>" not in page
    assert head in Page(page).text
    assert "two lines" in (out / "tables.txt").read_text()
