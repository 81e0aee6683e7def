"""Multiple choice in whole runs of tiny-books: which choice is taken, and how prompts, shots and padding are put together."""
import pytest

from support.program import copy_of_tiny_books, read_rows, scale_final_norm
from support.tasks import LONG, PASSKEY, QUESTIONS, WINDOW, tokens_of

# Sums of log-probabilities whose sequences are packed in another way: float32.
TOLERANCE = 1e-4


@pytest.fixture
def likelihoods(asked, lines_file):
    """likelihoods([question], ...) -> of each question its choices' log-likelihoods."""

    def run_choice(questions, windows=None, **options):
        changes = {} if windows is None else {"windows": windows}
        _, tables, _ = asked({"type": "multiple_choice", "path": str(lines_file("choice", questions)), **options}, **changes)
        return [[float(x) for x in line["log_likelihoods"].split()] for line in tables["choice"]]

    return run_choice


def assert_close(found, expected):
    assert [len(x) for x in found] == [len(x) for x in expected]
    for one, other in zip(found, expected):
        assert one == pytest.approx(other, abs=TOLERANCE)


def assert_all_differ(found, other):
    assert len(found) == len(other)
    for one, two in zip(found, other):
        assert all(abs(x - y) > TOLERANCE for x, y in zip(one, two, strict=True))


def test_multiple_choice_takes_the_likeliest_choice_and_the_likeliest_by_character(asked, lines_file):
    row, tables, _ = asked({"type": "multiple_choice", "path": str(lines_file("choice", QUESTIONS))})
    assert list(tables) == ["choice"]
    lines = tables["choice"]
    assert all(list(line) == ["id", "label", "choice", "choice_norm", "log_likelihoods"] for line in lines)
    assert [line["id"] for line in lines[:2]] == ["kiln", "cart"] and lines[2]["id"].endswith("choice.jsonl:3")
    right = right_normed = 0
    for line, question in zip(lines, QUESTIONS, strict=True):
        found = [float(x) for x in line["log_likelihoods"].split()]
        assert len(found) == len(question["choices"]) and max(found) < 0
        normed = [x / len(choice) for x, choice in zip(found, question["choices"])]
        assert int(line["choice"]) == found.index(max(found)) and int(line["choice_norm"]) == normed.index(max(normed))
        assert int(line["label"]) == question["label"]
        right += line["choice"] == line["label"]
        right_normed += line["choice_norm"] == line["label"]
    assert set(row["metrics"]) == {"choice/acc", "choice/acc_norm"}
    for name, count in (("choice/acc", right), ("choice/acc_norm", right_normed)):
        share = count / 3
        assert row["metrics"][name]["value"] == pytest.approx(share) and row["metrics"][name]["count"] == 3
        assert row["metrics"][name]["stderr"] == pytest.approx((share * (1 - share) / 2) ** 0.5)
    assert row["seconds"] > 0 and row["peak_bytes"] > 0 and row["tokens_per_second"] is None


def test_characters_and_not_bytes_divide(asked, lines_file):
    others = ["x" * count for count in range(1, 12)] + ["qz", "zebra", "garden", "the garden", "of the house and the garden", "it was the end of the day"]
    accented = "ééééééé é"
    questions = [{"query": "Where?", "choices": [accented, other], "label": 0} for other in others]
    _, tables, _ = asked({"type": "multiple_choice", "path": str(lines_file("choice", questions))})
    taken = {len: [], lambda text: len(text.encode()): []}
    for other, line in zip(others, tables["choice"], strict=True):
        first, second = map(float, line["log_likelihoods"].split())
        for length, choices in taken.items():
            choices.append(int(second / length(other) > first / length(accented)))
    by_characters, by_bytes = taken.values()
    assert by_characters != by_bytes and [int(line["choice_norm"]) for line in tables["choice"]] == by_characters


def test_a_limit_asks_the_first_questions_alone(likelihoods):
    everything = likelihoods(QUESTIONS)
    assert_close(likelihoods(QUESTIONS, limit=2), everything[:2])
    assert_close(likelihoods(QUESTIONS, limit=9), everything)


def test_a_name_is_what_its_metrics_and_its_table_are_called(asked, lines_file):
    path = str(lines_file("choice", QUESTIONS))
    row, tables, _ = asked({"type": "multiple_choice", "path": path, "name": "first", "limit": 2}, {"type": "multiple_choice", "path": path})
    assert set(tables) == {"first", "choice"} and len(tables["first"]) == 2
    assert {name.split("/")[0] for name in row["metrics"]} == {"first", "choice"}


def test_shots_are_the_file_s_first_questions_with_their_answers_and_are_not_asked(likelihoods):
    first, second, third = QUESTIONS
    shown = f"{first['query']} garden\n\n{second['query']} zebra\n\n"
    by_hand = likelihoods([third | {"query": shown + third["query"]}])
    found = likelihoods(QUESTIONS, shots=2)
    assert_close(found, by_hand)
    assert_all_differ(found, likelihoods([third]))
    assert_all_differ(found, likelihoods(QUESTIONS, shots=2, separator="\n"))


def test_shots_of_another_file_leave_every_question_to_be_asked(likelihoods, lines_file):
    other = lines_file("shown", [{"query": "The mill stands by the", "choices": ["river", "star"], "label": 0}])
    found = likelihoods(QUESTIONS, shots=1, shots_path=str(other))
    assert_close(found, likelihoods([question | {"query": "The mill stands by the river\n\n" + question["query"]} for question in QUESTIONS]))


def test_prompts_have_fields_and_braces_and_choices_may_be_the_same_for_all(likelihoods):
    questions = [{"passage": "Marta bought the house.", "query": "did Marta buy it", "label": 1}]
    found = likelihoods(questions, prompt="{passage}\nQ {{1}}: {query}?\nA:", choices=["no", "yes"])
    assert_close(found, likelihoods([{"query": "Marta bought the house.\nQ {1}: did Marta buy it?\nA:", "choices": ["no", "yes"], "label": 1}]))


@pytest.mark.parametrize(("prompt", "written"), [
    ('{{"question": "{query}"}}', '{"question": "Where?"}'),
    ("{{{query}}}", "{Where?}"),
    ("{{query: {query}}}", "{query: Where?}"),
    ("{{hint}} {query}", "{hint} Where?"),  # no field of the file
])
def test_doubled_braces_beside_fields_are_braces(likelihoods, prompt, written):
    question = {"query": "Where?", "choices": ["here", "there"], "label": 0}
    assert_close(likelihoods([question], prompt=prompt), likelihoods([question | {"query": written}]))


def test_a_number_may_be_an_id_and_control_characters_stay_out_of_the_table(asked, lines_file):
    questions = [QUESTIONS[0] | {"id": 17}, QUESTIONS[1] | {"id": "two\nlines"}]
    _, tables, _ = asked({"type": "multiple_choice", "path": str(lines_file("choice", questions))})
    assert [line["id"] for line in tables["choice"]] == ["17", "two lines"]


def test_a_delimiter_stands_between_prompt_and_choice(likelihoods):
    glued = likelihoods(QUESTIONS, delimiter="")
    assert_all_differ(glued, likelihoods(QUESTIONS))
    spaced = [question | {"choices": [" " + choice for choice in question["choices"]]} for question in QUESTIONS]
    assert_close(likelihoods(spaced, delimiter=""), likelihoods(QUESTIONS))


def test_a_blank_is_filled_with_each_choice_and_what_follows_is_scored(asked, likelihoods, lines_file):
    question = {"sentence": "The pot fell on the stone because the _ was loose and old.", "choices": ["handle", "stone"], "label": 0}
    row, tables, _ = asked({"type": "multiple_choice", "path": str(lines_file("choice", [question, question | {"label": 1}])),
                            "prompt": "{sentence}", "blank": "_"})
    found = [float(x) for x in tables["choice"][0]["log_likelihoods"].split()]
    for value, choice in zip(found, question["choices"]):
        by_hand = {"query": f"The pot fell on the stone because the {choice}", "choices": ["was loose and old.", "x"], "label": 0}
        assert value == pytest.approx(likelihoods([by_hand])[0][0], abs=TOLERANCE)
    assert set(row["metrics"]) == {"choice/acc"} and row["metrics"]["choice/acc"]["value"] == 0.5
    assert tables["choice"][0]["choice_norm"] == ""


def test_a_shot_with_a_blank_has_the_delimiter_where_the_question_has_it(asked, likelihoods, lines_file):
    shown = {"sentence": "The pot fell on the stone because the _ was loose and old.", "choices": ["handle", "stone"], "label": 0}
    question = {"sentence": "The cart was behind the mill since the _ had no wheel.", "choices": ["cart", "mill"], "label": 0}
    for delimiter in (" ", " now "):
        _, tables, _ = asked({"type": "multiple_choice", "path": str(lines_file("choice", [shown, question])), "prompt": "{sentence}", "blank": "_",
                              "delimiter": delimiter, "shots": 1})
        shot = f"The pot fell on the stone because the handle{delimiter}was loose and old.\n\n"
        for value, choice in zip(tables["choice"][0]["log_likelihoods"].split(), question["choices"]):
            by_hand = {"query": f"{shot}The cart was behind the mill since the {choice}", "choices": ["had no wheel.", "x"], "label": 0}
            assert float(value) == pytest.approx(likelihoods([by_hand], delimiter=delimiter)[0][0], abs=TOLERANCE)


def test_a_bos_comes_before_every_context(likelihoods):
    assert_all_differ(likelihoods(QUESTIONS, bos=True), likelihoods(QUESTIONS))


def test_padding_goes_before_every_prompt_that_it_fits(likelihoods, tmp_path):
    (tmp_path / "pad.txt").write_text(LONG, encoding="utf-8")
    plain = likelihoods(QUESTIONS)

    def padded(tokens):
        return likelihoods(QUESTIONS, pad={"path": str(tmp_path / "pad.txt"), "tokens": tokens})

    assert_close(padded(4), plain)  # they are longer
    hundred, more = padded(100), padded(200)
    assert_all_differ(hundred, plain)
    assert_all_differ(hundred, more)


def test_padding_up_to_the_window_cuts_nothing_and_beyond_it_is_counted(asked, lines_file, tmp_path):
    (tmp_path / "pad.txt").write_text(LONG * 3, encoding="utf-8")
    task = {"type": "multiple_choice", "path": str(lines_file("choice", QUESTIONS))}
    row, _, process = asked(task | {"pad": {"path": str(tmp_path / "pad.txt"), "tokens": WINDOW}})
    assert "choice/cut" not in row["metrics"] and "lose their beginning" not in process.stderr
    row, _, process = asked(task | {"pad": {"path": str(tmp_path / "pad.txt"), "tokens": WINDOW + 2}})
    assert row["metrics"]["choice/cut"]["value"] == 1 and "lose their beginning" in process.stderr  # the longest


def test_a_prompt_that_is_longer_than_the_window_is_cut_counted_and_logged(run, asked, likelihoods, lines_file, tmp_path):
    words = LONG.split()
    long = QUESTIONS[0] | {"query": " ".join(words[:600])}
    assert len(tokens_of(long["query"])) > WINDOW + 1
    row, _, process = asked({"type": "multiple_choice", "path": str(lines_file("choice", [long, *QUESTIONS[1:]]))})
    assert row["metrics"]["choice/cut"] == {"value": 1, "stderr": None, "count": 3}
    assert f"choice: 1 of 3 prompts are longer than the window of {WINDOW} tokens and lose their beginning" in process.stderr
    log = next((tmp_path / "asked").glob(f"cells/{row['id']}/log.txt"))
    assert row["id"] in log.read_text(encoding="utf-8")
    # What is lost is the beginning: another beginning changes nothing.
    other = long | {"query": " ".join(["Nobody", "knew", "at", "all", *words[4:600]])}
    assert_close(likelihoods([other]), likelihoods([long]))
    assert "choice/cut" in run("show", tmp_path / "asked", "--format", "csv").stdout


def test_each_choice_of_a_question_is_cut_by_itself(asked, likelihoods, lines_file):
    words = LONG.split()
    # The long choice leaves room for less of the prompt.
    question = {"query": " ".join(words[:600]), "choices": ["and", " ".join(words[600:700])], "label": 0}
    row, _, _ = asked({"type": "multiple_choice", "path": str(lines_file("choice", [question, *QUESTIONS]))})
    assert row["metrics"]["choice/cut"]["value"] == 1
    tail = tokens_of(" ".join(words[300:600]))
    assert WINDOW - len(tokens_of(question["choices"][1])) < len(tail) < WINDOW
    other = question | {"query": " ".join([*words[:290], *["zebra"] * 10, *words[300:600]])}
    (short, long), (other_short, other_long) = likelihoods([question]) + likelihoods([other])
    assert long == pytest.approx(other_long, abs=TOLERANCE) and abs(short - other_short) > TOLERANCE
    # Its neighbours in the file are answered as without it.
    assert_close(likelihoods([question, *QUESTIONS])[1:], likelihoods(QUESTIONS))


def test_a_question_that_is_cut_loses_its_bos_first(likelihoods):
    long = QUESTIONS[0] | {"query": " ".join(LONG.split()[:600])}
    assert likelihoods([long], bos=True) == likelihoods([long])


def test_a_choice_may_fill_the_window_but_for_a_token_of_the_prompt(run, experiment, likelihoods, lines_file):
    query, choice = "A cart comes up the", " ".join(LONG.split()[:60])
    first, whole = tokens_of(query), tokens_of(f"{query} {choice}")
    question = {"query": query, "choices": [choice, "road"], "label": 0}
    changes = {"windows": {"length": len(whole) - len(first)}}
    (cut,) = likelihoods([question], **changes)
    (other,) = likelihoods([question | {"query": "Nobody knew of the"}], **changes)
    assert cut[0] == pytest.approx(other[0], abs=TOLERANCE) and abs(cut[1] - other[1]) > TOLERANCE
    file = experiment({"data": None, "sweep": None, "windows": {"length": len(whole) - len(first) - 1},
                       "tasks": [{"type": "multiple_choice", "path": str(lines_file("choice", [question]))}]})
    assert f"a choice has {len(whole) - len(first)} tokens and the window {len(whole) - len(first) - 1}" in run("check", file).stderr


@pytest.mark.parametrize("asks_choices", [True, False])
def test_a_model_that_says_nothing_finite_fails_the_cell(failed, experiment, lines_file, tmp_path, asks_choices):
    model = copy_of_tiny_books(tmp_path / "model")
    scale_final_norm(model, float("nan"))
    choice = {"type": "multiple_choice", "path": str(lines_file("choice", QUESTIONS))}
    failed(experiment({"model.path": str(model), "data": None, "sweep": None, "windows": {"length": WINDOW}, "tasks": [choice if asks_choices else PASSKEY]}),
           "choice: the log-likelihoods of question 'kiln' are not" if asks_choices else "task/passkey/0: what the prompt comes to is not",
           "finite; check the weights")


def test_changed_questions_under_the_same_path_are_noticed(run, experiment, lines_file, tmp_path):
    path = lines_file("choice", QUESTIONS)
    file = experiment({"data": None, "sweep": None, "tasks": [{"type": "multiple_choice", "path": str(path)}]})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    assert "1 of 1 cells were finished already" in run("run", file, "--results", tmp_path / "results").stderr
    lines_file("choice", QUESTIONS[:2])
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    (row,) = read_rows(tmp_path / "results").values()
    assert row["metrics"]["choice/acc"]["count"] == 2


@pytest.mark.parametrize("name", ["shots.jsonl", "pad.txt"])
def test_changed_shots_and_padding_under_the_same_path_are_noticed(run, experiment, lines_file, tmp_path, name):
    lines_file("shots", QUESTIONS[:1])
    (tmp_path / "pad.txt").write_text(LONG * 3, encoding="utf-8")
    task = {"type": "multiple_choice", "path": str(lines_file("choice", QUESTIONS[1:])), "shots": 1, "shots_path": str(tmp_path / "shots.jsonl"),
            "pad": {"path": str(tmp_path / "pad.txt"), "tokens": WINDOW}}
    file = experiment({"data": None, "sweep": None, "windows": {"length": WINDOW}, "tasks": [task]})
    found = []
    for _ in range(2):
        process = run("run", file, "--results", tmp_path / "results")
        assert process.returncode == 0 and "were finished already" not in process.stderr, process.stderr
        (row,) = read_rows(tmp_path / "results").values()
        found.append((tmp_path / "results/cells" / row["id"] / "tasks/choice.csv").read_text(encoding="utf-8"))
        (tmp_path / name).write_text((tmp_path / name).read_text(encoding="utf-8").replace("The kiln", "A kiln").replace("kiln", "mill"), encoding="utf-8")
    assert found[0] != found[1]
