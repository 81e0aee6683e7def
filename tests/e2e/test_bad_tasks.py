"""Bad tasks, metrics and windows: `check` and `run` say one clear line with the place before any cell is evaluated.  Where a question is at
fault the place is that of its file, else the experiment's."""
import json

import pytest

from support.program import TEXT, TINY_BOOKS, assert_one_line, copy_of_tiny_books, tiny_books_tokenizer_hash, write_token_file

GOOD = {"query": "A cart comes up the", "choices": ["road", "moon"], "label": 0}
HEAD = f"""# An experiment with known lines and columns.
model: {{path: {TINY_BOOKS}, dtype: float32}}
windows: {{length: 256}}
"""
TEXT_HEAD = f"""# An experiment with known lines and columns.
model: {{path: {TINY_BOOKS}, dtype: float32}}
data: {{path: {TEXT}}}
"""


@pytest.fixture
def found(run, tmp_path):
    """found(text, begins, part...): `check` refuses the experiment with one line that begins so and holds the parts.  In `begins` {file} is the
    experiment, {here} the place of the sign » in its text, which is taken out."""

    def refuse(text, begins, *parts):
        file = tmp_path / "wrong.yaml"
        before = text.split("»")[0]
        here = f"{file}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
        file.write_text(text.replace("»", ""), encoding="utf-8")
        begins = begins.format(file=file, folder=tmp_path, here=here)
        process = run("check", file)
        assert_one_line(process, begins, *parts)
        assert process.stderr.startswith(begins), process.stderr

    return refuse


def written(path, lines):
    """Objects as JSON, texts as they are."""
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), encoding="utf-8")


# ---- questions: the place is file:line of the question

WITHOUT = {key: {name: value for name, value in GOOD.items() if name != key} for key in GOOD}


@pytest.mark.parametrize(("line", "parts"), [
    (WITHOUT["query"], ['no "query"']),
    (WITHOUT["choices"], ['no "choices"']),
    (WITHOUT["label"], ['no "label"']),
    (GOOD | {"query": 5}, ['"query" is 5, not a text']),
    (GOOD | {"label": 2}, ['"label" is 2', "the 2 choices are counted from 0"]),
    (GOOD | {"label": -1}, ['"label" is -1', "counted from 0"]),
    (GOOD | {"label": "0"}, ['"label" is "0"', "counted from 0"]),
    (GOOD | {"label": 0.5}, ['"label" is 0.5']),
    (GOOD | {"label": None}, ['"label" is null']),
    (GOOD | {"choices": ["one"]}, ["not a list of two texts or more"]),
    (GOOD | {"choices": ["one", 2]}, ["not a list of two texts or more"]),
    (GOOD | {"choices": {"text": ["a", "b"]}}, ["not a list of two texts or more"]),
    (GOOD | {"choices": ["road", "x " * 400]}, ["a choice has", "tokens and the window 256"]),
    (GOOD | {"choices": ["road", ""]}, ["choice 1 is empty"]),
    (GOOD | {"choices": ["road", "moon", "road"], "label": 2}, ["choice 2, the right one, is the same text as choice 0"]),
    (GOOD | {"label": True}, ['"label" is true']),
    (GOOD | {"label": 2 ** 64 - 1}, ['"label" is 18446744073709551615']),
    (GOOD | {"label": 1e300}, ['"label" is 1e+300']),
    (GOOD | {"label": list(range(100))}, ['"label" is [0,1,2,', "..., and the 2 choices"]),
    (GOOD | {"id": ["a"]}, ['"id" is ["a"], not a text']),
    (GOOD | {"id": None}, ['"id" is null, not a text']),
    (GOOD | {"query": None}, ['"query" is null, not a text']),
    (GOOD | {"query": ["A", "cart"]}, ['"query" is ["A","cart"], not a text']),
    ('{"id": "cut", "query": "A c', ["broken JSON: invalid string: missing closing quote; every line is one question"]),
    ("[1, 2]", ["is a JSON array, not an object; every line is one question"]),
    ("A cart comes up the road", ["broken JSON: invalid literal"]),
    (json.dumps(GOOD).replace("cart", r"\ud83d cart"), ["half of a surrogate pair"]),
    (json.dumps(GOOD).replace(": 0", ": 1e999"), ["the number 1e999 is beyond what double holds"]),
    (json.dumps(GOOD).replace(": 0", ": " + "[" * 100_000), ["more than 64 deep"]),
], ids=lambda value: json.dumps(value)[:60] if not isinstance(value, list) else "")
def test_a_bad_question_of_multiple_choice_is_named_by_file_and_line(found, tmp_path, line, parts):
    written(tmp_path / "questions.jsonl", [GOOD, "", line, GOOD])
    found(HEAD + "tasks: [{type: multiple_choice, path: questions.jsonl}]\n", "{folder}/questions.jsonl:3:", *parts)


def test_bytes_that_are_no_utf8_are_named_by_file_and_line(found, tmp_path):
    good = json.dumps(GOOD).encode()
    (tmp_path / "questions.jsonl").write_bytes(good + b"\n" + good.replace(b"cart", b"c\xe9rt") + b"\n")
    found(HEAD + "tasks: [{type: multiple_choice, path: questions.jsonl}]\n", "{folder}/questions.jsonl:2: ",
          "the byte 0xe9 at offset", "is no UTF-8 text", "iconv")


def test_a_choice_that_comes_to_no_token_is_named(found, tmp_path):
    sentence = {"sentence": "The pot fell because of the _", "choices": ["handle", "stone"], "label": 0}
    written(tmp_path / "questions.jsonl", [sentence])
    found(HEAD + "tasks: [{type: multiple_choice, path: questions.jsonl, prompt: '{sentence}', blank: _, delimiter: ''}]\n",
          "{folder}/questions.jsonl:1: ", 'the choice "handle" has no tokens')


def test_a_prompt_that_comes_to_no_token_is_named(found, tmp_path):
    written(tmp_path / "questions.jsonl", [GOOD | {"query": ""}])
    found(HEAD + "tasks: [{type: multiple_choice, path: questions.jsonl}]\n", "{folder}/questions.jsonl:1: ", "the prompt has no tokens")


def test_a_text_without_its_blank_is_named(found, tmp_path):
    sentence = {"sentence": "The pot fell because the _ was loose.", "choices": ["handle", "stone"], "label": 0}
    written(tmp_path / "questions.jsonl", [sentence, sentence | {"sentence": "The pot fell."}])
    found(HEAD + "tasks: [{type: multiple_choice, path: questions.jsonl, prompt: '{sentence}', blank: _}]\n",
          "{folder}/questions.jsonl:2: ", 'no "_" in "The pot fell."')


@pytest.mark.parametrize(("line", "parts"), [
    ({"context": "A text."}, ['no "answers"']),
    ({"context": "A text.", "answers": None}, ['"answers" is null, not a list of texts']),
    ({"context": "A text.", "answers": ["one"], "id": {"number": 1}}, ['"id" is {"number":1}, not a text']),
    ({"context": 1.5, "answers": ["one"]}, ['"context" is 1.5, not a text']),
    ({"context": "A text.", "answers": []}, ['"answers" is [], not a list of texts']),
    ({"context": "A text.", "answers": "one"}, ['"answers" is "one", not a list of texts']),
    ({"context": "A text.", "answers": [1]}, ['"answers" is [1], not a list of texts']),
    ({"answers": ["one"]}, ['no "context"']),
    ({"context": ["A text."], "answers": ["one"]}, ['"context" is ["A text."], not a text']),
    ({"context": "", "answers": ["one"]}, ["the prompt has no tokens"]),
    ('{"context": "A text.", "answers": ["one"', ["broken JSON: unexpected end of input"]),
    (r'{"context": "A \ude00 text.", "answers": ["one"]}', ["half of a surrogate pair"]),
], ids=lambda value: json.dumps(value)[:60] if not isinstance(value, list) else "")
def test_a_bad_question_with_free_answers_is_named_by_file_and_line(found, tmp_path, line, parts):
    written(tmp_path / "questions.jsonl", [{"context": "A text.", "answers": ["one"]}, line])
    found(HEAD + "tasks: [{type: qa, path: questions.jsonl, prompt: '{context}'}]\n", "{folder}/questions.jsonl:2:", *parts)


@pytest.mark.parametrize("kind", ["multiple_choice", "qa"])
def test_a_file_without_questions_is_named(found, tmp_path, kind):
    written(tmp_path / "questions.jsonl", ["", "  "])
    found(HEAD + f"tasks: [{{type: {kind}, path: questions.jsonl}}]\n", "{folder}/questions.jsonl: ", "holds no questions")


def test_the_id_of_another_question_is_named_by_file_and_line(found, tmp_path):
    written(tmp_path / "questions.jsonl", [GOOD | {"id": "a"}, GOOD | {"id": 1}, GOOD | {"id": "a"}])
    found(HEAD + "tasks: [{type: multiple_choice, path: questions.jsonl}]\n", "{folder}/questions.jsonl:3: ", '"id" is that of line 1, too', '"group"')


def test_a_bad_shot_is_named_by_file_and_line(found, tmp_path):
    written(tmp_path / "questions.jsonl", [GOOD, GOOD])
    written(tmp_path / "shown.jsonl", [GOOD, GOOD | {"label": 7}])
    found(HEAD + "tasks: [{type: multiple_choice, path: questions.jsonl, shots: 2, shots_path: shown.jsonl}]\n", "{folder}/shown.jsonl:2: ",
          '"label" is 7')


# ---- prompts: the place is the key's, or the task's where the prompt is not written

@pytest.mark.parametrize(("task", "key", "parts"), [
    ('{type: multiple_choice, path: questions.jsonl, prompt: »"{{query}}"}', ".prompt", ['"{{query}}": {{query}} is the same text in every question',
                                                                                       "write {query}"]),
    ('{type: multiple_choice, path: questions.jsonl, prompt: »"Q: {{ query.strip() }}\\nA:"}', ".prompt",
     [r'"Q: {{ query.strip() }}\nA:": {{ query.strip() }} is the same text', "write {query}"]),
    ("{type: multiple_choice, path: questions.jsonl, prompt: »'{query} or {{label}}?'}", ".prompt", ["{{label}} is the same text", "write {label}"]),
    ("{type: multiple_choice, path: questions.jsonl, prompt: »'{{quary}}'}", ".prompt", ["without a field every question is the same", '"query"']),
    ("{type: multiple_choice, path: questions.jsonl, prompt: »Once upon a time}", ".prompt",
     ["without a field every question is the same", '["query","choices","label"]']),
    ("{type: multiple_choice, path: questions.jsonl, prompt: »''}", ".prompt", ["without a field every question is the same"]),
    ("{type: multiple_choice, path: questions.jsonl, prompt: »'Q: {quary}'}", ".prompt",
     ['no question of', 'questions.jsonl has the field "quary"', "did you mean 'query'?", '["query","choices","label"]']),
    ("{type: multiple_choice, path: questions.jsonl, prompt: »'{query} {hint}'}", ".prompt", ['has the field "hint"; they have ["query",']),
    ("{type: multiple_choice, path: questions.jsonl, prompt: »'{% if query %}'}", ".prompt", ['has the field "% if query %"']),
    ("{type: multiple_choice, path: questions.jsonl, prompt: »'{ query }'}", ".prompt", ["{ query } has blanks; write {query}"]),
    ("{type: multiple_choice, path: questions.jsonl, prompt: »'Q: {}'}", ".prompt", ["{} names no field"]),
    ("{type: multiple_choice, path: questions.jsonl, prompt: »'{query}}'}", ".prompt", ["a brace that does not open; write }} for one"]),
    ("{type: multiple_choice, path: questions.jsonl, prompt: »'{{sentence}} _', blank: _}", ".prompt", ["without a field"]),
    ("»{type: multiple_choice, path: free.jsonl}", "", ['the prompt that is taken without one, "{query}"', 'free.jsonl has the field "query"',
                                                        '["context","answers"]']),
    ("{type: multiple_choice, path: questions.jsonl, prompt: »'{query}', shots: 1, shots_path: free.jsonl}", ".prompt",
     ['free.jsonl has the field "query"']),
    ("{type: qa, path: free.jsonl, prompt: »'{{context}}'}", ".prompt", ["{{context}} is the same text in every question"]),
    ("{type: qa, path: free.jsonl, prompt: »'Answer:'}", ".prompt", ["without a field every question is the same"]),
    ("»{type: qa, path: free.jsonl}", "", ['free.jsonl has the field "input"']),
], ids=lambda value: value[:90] if isinstance(value, str) else "")
def test_a_prompt_that_does_not_ask_each_question_for_its_own_is_named(found, tmp_path, task, key, parts):
    written(tmp_path / "questions.jsonl", [GOOD, GOOD])
    written(tmp_path / "free.jsonl", [{"context": "A text.", "answers": ["one"]}])
    found(HEAD + f"tasks: [{task}]\n", f"{{here}}: tasks[0]{key}: ", *parts)


@pytest.mark.parametrize(("task", "key"), [
    ("{type: multiple_choice, path: questions.jsonl, bos: »true}", ".bos"),
    ("»{type: passkey, lengths: [128]}", ""),
    ("{type: passkey, lengths: [128], bos: »true}", ".bos"),
    ("»{type: qa, path: free.jsonl, prompt: '{context}'}", ""),
])
def test_a_bos_that_the_model_has_not_is_named(found, run, tmp_path, task, key):
    written(tmp_path / "questions.jsonl", [GOOD])
    written(tmp_path / "free.jsonl", [{"context": "A text.", "answers": ["one"]}])
    model = copy_of_tiny_books(tmp_path / "model")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps(config | {"bos_token_id": None}), encoding="utf-8")
    head = HEAD.replace(str(TINY_BOOKS), str(model))
    found(head + f"tasks: [{task}]\n", f"{{here}}: tasks[0]{key}: ", "the model has no BOS", "bos_token_id: null", "say bos: false")
    without = task.replace("»", "").replace(", bos: true", "")[:-1] + ", bos: false}"
    (tmp_path / "right.yaml").write_text(head + f"tasks: [{without}]\n", encoding="utf-8")
    assert run("check", tmp_path / "right.yaml").returncode == 0


# ---- the experiment: the place is file:line:column and the key

@pytest.mark.parametrize(("task", "key", "parts"), [
    ("{type: multiple_choice, path: »nowhere.jsonl}", ".path", ["nowhere.jsonl: no such file"]),
    ("{type: qa, path: »nowhere.jsonl}", ".path", ["nowhere.jsonl: no such file"]),
    ("»{type: multiple_choice}", ".path", ["missing"]),
    ("{type: multiple_choice, path: questions.jsonl, shots: 1, shots_path: »nowhere.jsonl}", ".shots_path", ["no such file"]),
    ("{type: multiple_choice, path: questions.jsonl, pad: {path: »nowhere.txt, tokens: 64}}", ".pad.path", ["no such file"]),
    ("{type: passkey, lengths: [128], filler: »nowhere.txt}", ".filler", ["no such file"]),
    ("{type: multiple_choice, path: questions.jsonl, »shot: 2}", ".shot", ["unknown key", "did you mean 'shots'"]),
    ("{type: multiple_choice, path: questions.jsonl, pad: {path: pad.txt, tokens: 16, »side: left}}", ".pad.side", ["unknown key"]),
    ("{type: passkey, lengths: [128], »deepths: [0]}", ".deepths", ["unknown key", "did you mean 'depths'"]),
    ("{type: qa, path: free.jsonl, »new_token: 4}", ".new_token", ["did you mean 'new_tokens'"]),
    ("{type: »multiple_choices, path: questions.jsonl}", ".type", ["unknown 'multiple_choices'", "did you mean 'multiple_choice'",
                                                                   "multiple_choice, passkey, qa"]),
    ("»{path: questions.jsonl}", ".type", ["missing"]),
    ("{type: multiple_choice, path: questions.jsonl, shots: »3}", ".shots", ["3 shots are asked for and 2 questions are there"]),
    ("{type: multiple_choice, path: questions.jsonl, shots: »2}", ".shots", ["no question is left"]),
    ("{type: multiple_choice, path: questions.jsonl, shots: »-1}", ".shots", ["from 0 to 1000, found -1"]),
    ("{type: multiple_choice, path: questions.jsonl, shots_path: »questions.jsonl}", ".shots_path", ["shots"]),  # none are shown
    ("{type: multiple_choice, path: questions.jsonl, limit: »-1}", ".limit", ["found -1"]),
    ("{type: multiple_choice, path: questions.jsonl, prompt: »'Q: {query'}", ".prompt", ["a brace that does not close"]),
    ("{type: multiple_choice, path: questions.jsonl, pad: {path: pad.txt, tokens: »1}}", ".pad.tokens", ["at least 2"]),
    ("{type: multiple_choice, path: questions.jsonl, choices: »[maybe]}", ".choices", ["expected two texts or more"]),
    ("{type: multiple_choice, path: questions.jsonl, choices: »[]}", ".choices", ["expected two texts or more"]),
    ("{type: multiple_choice, path: questions.jsonl, choices: »['no', '']}", ".choices", ["choice 1 is empty"]),
    ("{type: multiple_choice, path: questions.jsonl, name: »a/b}", ".name", ["'a/b'"]),
    ("{type: multiple_choice, path: questions.jsonl, name: »''}", ".name", []),
    ("{type: passkey, lengths: [128], name: »../up}", ".name", ["'../up'"]),
    ("{type: passkey, lengths: [128], name: »nll_by_position}", ".name", ["how losses by position are called"]),
    ("{type: passkey, lengths: [128], name: »" + "n" * 201 + "}", ".name", ["a name of 201 bytes; at most 200"]),
    ("{type: passkey, lengths: »[64]}", ".lengths", ["the number and its question need", "tokens, and the length is 64"]),
    ("{type: passkey, lengths: »[128, 257]}", ".lengths", ["257 tokens are more than windows.length 256"]),
    ("{type: passkey, lengths: »[128], new_tokens: 120}", ".lengths", ["the number and its question need"]),
    ("{type: passkey, lengths: »[]}", ".lengths", ["expected lengths in tokens"]),
    ("»{type: passkey}", ".lengths", ["missing"]),
    ("{type: passkey, lengths: [128], depths: »[0, 1.5]}", ".depths", ["between 0 and 1, found 1.5"]),
    ("{type: passkey, lengths: [128], depths: »[]}", ".depths", ["from 0 to 1"]),
    ("{type: passkey, lengths: »[128, 100, 128]}", ".lengths", ["the same length twice"]),
    ("{type: passkey, lengths: [128], depths: »[0.5, 0.5]}", ".depths", ["the same depth twice"]),
    ("{type: passkey, lengths: [128], samples: »0}", ".samples", ["from 1 to 1000, found 0"]),
    ("{type: qa, path: free.jsonl, new_tokens: »0}", ".new_tokens", ["from 1 to 4096, found 0"]),
    ("{type: qa, path: free.jsonl, new_tokens: »256}", ".new_tokens", ["windows of 256 tokens leave no room for 256 new ones"]),
], ids=lambda value: value[:80] if isinstance(value, str) else "")
def test_a_wrong_task_is_named_with_its_place(found, tmp_path, task, key, parts):
    written(tmp_path / "questions.jsonl", [GOOD, GOOD])
    written(tmp_path / "free.jsonl", [{"context": "A text.", "input": "What?", "answers": ["one"]}])
    (tmp_path / "pad.txt").write_text("The river runs past the mill, and the wheel turns all day.", encoding="utf-8")
    found(HEAD + f"tasks: [{task}]\n", f"{{here}}: tasks[0]{key}: ", *parts)


def test_two_tasks_of_one_name_are_named(found, tmp_path):
    written(tmp_path / "questions.jsonl", [GOOD])
    tasks = "tasks: [»{type: multiple_choice, path: questions.jsonl},\n        {type: qa, path: free.jsonl, name: questions}]\n"
    written(tmp_path / "free.jsonl", [{"context": "A text.", "input": "What?", "answers": ["one"]}])
    found(HEAD + tasks, "{here}: tasks[0]: ", "two tasks are called 'questions'", "give one a `name`")


def test_a_text_to_pad_with_that_is_too_short_is_named(found, tmp_path):
    written(tmp_path / "questions.jsonl", [GOOD])
    (tmp_path / "pad.txt").write_text("The river", encoding="utf-8")
    found(HEAD + "tasks: [{type: multiple_choice, path: questions.jsonl, pad: {path: pad.txt, tokens: 64}}]\n", "", f"{tmp_path}/pad.txt", "tokens",
          "to pad to 64")


@pytest.mark.parametrize(("block", "key", "parts"), [
    ("diagnostics: »[phase]", "diagnostics", ["look at windows of text", "give `data`, too"]),
    ("metrics: »[perplexity]", "metrics", ["`data`"]),
])
def test_what_looks_at_text_needs_data(found, block, key, parts):
    found(HEAD + f"tasks: [{{type: passkey, lengths: [128]}}]\n{block}\n", f"{{here}}: {key}: ", *parts)


def test_neither_data_nor_tasks_is_named(found):
    found(HEAD, "{file}:", "data: missing")


def test_an_unsuited_task_of_a_later_cell_is_found_before_the_first_runs(found):
    found(HEAD + "tasks: [{type: passkey, lengths: »[128]}]\nsweep: [{windows.length: [256, 100]}]\n", "{here}: tasks[0].lengths: ",
          "128 tokens are more than windows.length 100")


@pytest.mark.parametrize("task", ["{type: multiple_choice, path: questions.jsonl, shots: 2}", "{type: passkey, lengths: [64]}",
                                  "{type: multiple_choice, path: bad.jsonl}"])
def test_run_refuses_before_any_cell_what_check_refuses(refused, tmp_path, task):
    written(tmp_path / "questions.jsonl", [GOOD, GOOD])
    written(tmp_path / "bad.jsonl", [GOOD, GOOD | {"label": 2}])
    file = tmp_path / "wrong.yaml"
    file.write_text(HEAD + f"tasks: [{task}]\n", encoding="utf-8")
    refused(file, str(tmp_path))


# ---- metrics and windows

@pytest.mark.parametrize(("text", "key", "parts"), [
    ("windows: {length: 64}\nmetrics: [»{type: long_ppl, short: 64}]", "metrics[0]", ["no shorter than windows of 64", "set short: 32 or less"]),
    ("windows: {length: 64}\nmetrics: [»{type: long_ppl}]", "metrics[0]", ["a short context of 4096 tokens is no shorter than windows of 64"]),
    ("windows: {length: 64}\nmetrics: [»long_ppl]", "metrics[0]", ["a short context of 4096 tokens is no shorter than windows of 64"]),
    ("windows: {length: 64, bos: start, targets: beyond}\nmetrics: [»{type: long_ppl, short: 32}]", "metrics[0]", ["targets: inside"]),
    ("windows: {length: 64}\nmetrics: [{type: long_ppl, short: »0}]", "metrics[0].short", ["found 0"]),
    ("windows: {length: 64}\nmetrics: [{type: long_ppl, short: 32, step: »0}]", "metrics[0].step", ["found 0"]),
    ("windows: {length: 64}\nmetrics: [{type: long_ppl, short: 32, »alpah: 1}]", "metrics[0].alpah", ["did you mean 'alpha'"]),
    ("windows: {length: 64}\nmetrics: [»{type: nll_by_position, last: 65}]", "metrics[0]", ["the last 65 tokens are more than the windows' 64"]),
    ("windows: {length: 64}\nmetrics: [»nll_by_position]", "metrics[0]", ["the last 1024 tokens are more than the windows' 64"]),
    ("windows: {length: 64}\nmetrics: [{type: nll_by_position, bins: »0, last: 8}]", "metrics[0].bins", ["found 0"]),
    ("windows: {length: 64, truncate: true}\nmetrics: [»{type: bits_per_byte}]", "metrics[0]", ["score every token of a document once"]),
    ("windows: {length: 64, truncate: true}\nmetrics: [»bits_per_byte]", "metrics[0]", ["score every token of a document once"]),
    ("windows: {length: 64, tail: drop}\nmetrics: [»{type: bits_per_byte}]", "metrics[0]", ["tail: keep or fill"]),
    ("windows: {length: 64, score: window}\nmetrics: [»{type: bits_per_byte}]", "metrics[0]", ["score: all"]),
    ("windows: {length: 64, score: second_half}\nmetrics: [»{type: bits_per_byte}]", "metrics[0]", ["score: all"]),
    ("windows: {length: 64, bos: false}\nmetrics: [»{type: bits_per_byte}]", "metrics[0]", ["bos"]),  # no first token is scored
    ("windows: {length: 64}\nmetrics: [{type: perplexity, base: »2}]", "metrics[0].base", ["unknown '2'", "e, 2.71828"]),
    ("windows: {length: 64}\nmetrics: [{type: kl_divergence, »top: 5}]", "metrics[0].top", ["unknown key"]),
    ("windows: {length: 64}\nmetrics: [»kl_divergance]", "metrics[0]", ["did you mean 'kl_divergence'"]),
    ("windows: {length: 64}\nmetrics: [perplexity, »perplexity]", "metrics[1]", ["'perplexity'", "twice"]),
    ("windows: {length: 64}\nmetrics: [{type: nll_by_position, last: 16}, »{type: nll_by_position, last: 32}]", "metrics[1]",
     ["'nll_by_position'", "twice"]),  # the second's curve would take the first's place
], ids=lambda value: value.replace("\n", " ")[:90] if isinstance(value, str) else "")
def test_a_metric_that_does_not_suit_its_windows_is_named(found, text, key, parts):
    found(TEXT_HEAD + text + "\n", f"{{here}}: {key}", *parts)


def test_bits_per_byte_of_documents_that_are_cut_is_refused(found):
    # How many words and bytes the rest has is not known.
    text = TEXT_HEAD.replace(f"{TEXT}}}", f"{TEXT}, max_tokens: 100}}")
    found(text + "windows: {length: 64}\nmetrics: [»{type: bits_per_byte}]\n", "{here}: metrics[0]: ", "max_tokens")


def test_bits_per_byte_of_tokens_without_words_and_bytes_is_found_before_any_cell_runs(run, refused, experiment, tmp_path):
    write_token_file(tmp_path / "data.tok", tiny_books_tokenizer_hash(), {"a": range(3, 103)})
    file = experiment({"data.path": str(tmp_path / "data.tok"), "windows": {"length": 64}, "metrics": ["bits_per_byte"], "sweep": None})
    refused(file, "document 'a'", "words and bytes", "scripts/tokenize")


@pytest.mark.parametrize(("windows", "key", "parts"), [
    ("{length: 64, tail: »kep}", "tail", ["unknown 'kep'", "did you mean 'keep'", "keep, drop, fill, longlora"]),
    ("{length: 64, score: »second}", "score", ["unknown 'second'", "all, window, second_half"]),
    ("{length: 64, bos: »star}", "bos", ["unknown 'star'", "did you mean 'start'", "true, false, start, replace"]),
    ("{length: 64, bos: »yes}", "bos", ["true, false, start, replace"]),
    ("{length: 64, bos: »1}", "bos", ["true, false, start, replace"]),
    ("{length: 64, targets: »outside}", "targets", ["inside, beyond"]),
    ("{length: 64, aggregate: »token}", "aggregate", ["did you mean 'tokens'", "tokens, windows, documents"]),
    ("{length: 64, stride: »0}", "stride", ["from 1 to 64, found 0"]),
    ("{length: 64, stride: »65}", "stride", ["from 1 to 64, found 65"]),
    ("{length: 64, stride: »8.5}", "stride", ["expected an integer, found '8.5'"]),
    ("{length: »1}", "length", ["a window needs at least 2 tokens"]),
    ("{length: »4294967296}", "length", ["no more than 2147483648 tokens"]),
    ("{length: 64, targets: »beyond}", "targets", ["say bos: start, false or replace"]),
    ("{length: 64, targets: »beyond, bos: true}", "targets", ["say bos: start, false or replace"]),
    ("{length: 64, »concatenat: true}", "concatenat", ["unknown key", "did you mean 'concatenate'"]),
    ("{length: 64, concatenate: »maybe}", "concatenate", ["true or false"]),
    ("{length: 64, tail: »longlora}", "tail", ["score: window"]),  # with score: all it would change nothing
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_wrong_key_of_windows_is_named(found, windows, key, parts):
    found(TEXT_HEAD + f"windows: {windows}\n", f"{{here}}: windows.{key}: ", *parts)


def test_windows_that_leave_nothing_to_score_are_named(run, refused, experiment, tmp_path):
    (tmp_path / "short.txt").write_text("A cart comes up the road.", encoding="utf-8")
    file = experiment({"data.path": str(tmp_path / "short.txt"), "windows": {"length": 64, "tail": "drop"}, "sweep": None})
    refused(file, f"{tmp_path}/short.txt: no document has a token to score")
