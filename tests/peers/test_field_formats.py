"""`show --format lm_eval` and `--format eee` read by the tools whose formats they are: lm-evaluation-harness 0.4.13, Every Eval Ever 0.3.0."""
import json
from datetime import datetime

import pytest
from every_eval_ever.converters.lm_eval.adapter import LMEvalAdapter
from every_eval_ever.eval_types import EvaluationLog
from every_eval_ever.validator.validation_core import validate_aggregate
from lm_eval.utils import make_table

from support.program import read_csv, read_rows
from support.tasks import ASKED, PASSKEY, QUESTIONS, WINDOW, write_five_texts, write_lines

W3 = [{"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64}}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("formats")


@pytest.fixture
def evaluated(run, experiment, folder):
    """Results over five documents and three kinds of tasks, in full precision and in three draws of W3; run once."""
    results = folder / "results"
    if not (results / "rows.jsonl").exists():
        texts = write_five_texts(folder / "texts.jsonl")
        questions = write_lines(folder / "questions.jsonl", [question | {"id": f"q{n}"} for n, question in enumerate(QUESTIONS * 2)])
        asked = write_lines(folder / "asked.jsonl", [question | {"answers": ["went"]} for question in ASKED])
        tasks = [{"type": "multiple_choice", "path": str(questions), "prompt": "{query}"}, PASSKEY,
                 {"type": "qa", "path": str(asked), "prompt": "{context}", "new_tokens": 4}]
        file = experiment({"data": {"path": str(texts)}, "windows": {"length": WINDOW}, "model.dtype": "float32", "tasks": tasks,
                           "sweep": [{"quant": [[]]}, {"rounding.draw": [0, 1, 2], "quant": [W3]}]})
        process = run("run", file, "--results", results)
        assert process.returncode == 0, process.stderr
    return results


def lines_of(process):
    assert process.returncode == 0, process.stderr
    return [json.loads(line) for line in process.stdout.splitlines()]


def test_lm_eval_prints_its_table_of_every_run(evaluated, run):
    rows = read_rows(evaluated)
    runs = lines_of(run("show", evaluated, "--format", "lm_eval"))
    assert {one["cell"] for one in runs} == rows.keys() and len(rows) == 4  # draws are runs of their own
    for one in runs:
        metrics = rows[one["cell"]]["metrics"]
        table = make_table(one)
        for task, metric in (("questions", "acc"), ("questions", "acc_norm"), ("passkey", "accuracy"), ("asked", "f1")):
            assert one["results"][task][f"{metric},none"] == metrics[f"{task}/{metric}"]["value"]
            assert f"|{metric}" in table.replace(" ", "") and one["higher_is_better"][task][metric] is True
        assert one["results"]["texts"]["perplexity,none"] == metrics["perplexity"]["value"]
        assert one["higher_is_better"]["texts"]["perplexity"] is False
        assert one["intervals"]["texts"]["nll"] == [metrics["nll"]["low"], metrics["nll"]["high"]]


def test_lm_evals_samples_are_the_questions_and_their_metrics_the_results(evaluated, run):
    for one in lines_of(run("show", evaluated, "--format", "lm_eval")):
        samples = one["samples"]
        own = {path.stem: read_csv(path.read_text(encoding="utf-8")) for path in (evaluated / "cells" / one["cell"] / "tasks").glob("*.csv")}
        for task, metrics in (("questions", ("acc", "acc_norm")), ("passkey", ("accuracy",)), ("asked", ("exact_match", "f1"))):
            assert len(samples[task]) == len(own[task]) == one["n-samples"][task]["effective"]
            for metric in metrics:
                mean = sum(sample[metric] for sample in samples[task]) / len(samples[task])
                assert mean == pytest.approx(one["results"][task][f"{metric},none"], rel=1e-12)
        for sample, line in zip(samples["questions"], own["questions"]):
            assert sample["doc"]["id"] == line["id"] and [choice[0] for choice in sample["filtered_resps"]] == [float(x) for x in line["log_likelihoods"].split()]
        assert [sample["doc"]["id"] for sample in samples["texts"]] == [f"d{n}" for n in range(5)]
        likelihoods, tokens = zip(*(sample["nll"] for sample in samples["texts"]))
        assert -sum(likelihoods) / sum(tokens) == pytest.approx(one["results"]["texts"]["nll,none"], rel=1e-6)


def test_every_eval_ever_converts_lm_evals_format_to_the_same_scores(evaluated, run):
    for one in lines_of(run("show", evaluated, "--format", "lm_eval")):
        for task, found in one["results"].items():
            log = LMEvalAdapter()._transform_single(one, {"task_name": task})
            scores = {result.metric_config.metric_name: result for result in log.evaluation_results}
            for metric, result in scores.items():
                assert result.score_details.score == found[f"{metric},none"]
                assert result.metric_config.lower_is_better is not one["higher_is_better"][task][metric]


def test_every_eval_ever_accepts_every_record(evaluated, run, tmp_path):
    records = lines_of(run("show", evaluated, "--format", "eee"))
    shown = {row["id"]: row for row in json.loads(run("show", evaluated, "--format", "json").stdout)}
    assert len(records) == len(shown) == 2  # the three draws are one record
    for number, record in enumerate(records):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(record), encoding="utf-8")
        report = validate_aggregate(file)
        assert report.valid, report.errors
        log = EvaluationLog.model_validate(record)
        row = shown[log.source_metadata.additional_details["cell"]]
        started = datetime.fromisoformat(row["environment"]["started"].replace("Z", "+00:00"))
        assert int(log.evaluation_timestamp) == int(started.timestamp())
        results = {result.evaluation_result_id: result for result in log.evaluation_results}
        own = {name if "/" in name else f"texts/{name}": entry for name, entry in row["metrics"].items()}
        assert results.keys() == own.keys()
        lower = {name for name, result in results.items() if result.metric_config.lower_is_better}
        assert {"texts/nll", "texts/perplexity"} <= lower and not {"questions/acc", "questions/acc_norm", "passkey/accuracy", "asked/f1"} & lower
        for name, entry in own.items():
            details = results[name].score_details
            assert details.score == entry["value"]
            if entry.get("low") is not None:
                interval = details.uncertainty.confidence_interval
                assert [interval.lower, interval.upper] == [entry["low"], entry["high"]]
                assert ("and 3 rounding draws" in interval.method) == bool(row["axes"]["quant"])


@pytest.mark.parametrize("format", ["lm_eval", "eee"])
def test_comparisons_have_no_place_there(evaluated, run, format):
    for options in (("--baseline", "quant=none"), ("--interaction", "quant,windows.length")):
        process = run("show", evaluated, "--format", format, *options)
        assert process.returncode == 1 and process.stderr == f"--format {format}: has no place for comparisons; leave out --baseline and --interaction\n"
