"""Tokens that only the files beside the tokenizer's list: transformers adds them, the program says so."""
import json

import pytest
import transformers
from tokenizers import AddedToken, Tokenizer

from checkpoints import TOKENIZER, save_llama
from support.program import copy_of_tiny_books


def listed(folder, content, special=False, number=TOKENIZER):
    """Lists a token as transformers does, in tokenizer_config.json."""
    token = {"content": content, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": special}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "added_tokens_decoder": {str(number): token}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def listed_by_older_releases(folder, content):
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}), encoding="utf-8")
    (folder / "added_tokens.json").write_text(json.dumps({content: TOKENIZER}), encoding="utf-8")


@pytest.mark.parametrize(("by", "file"), [(listed, "tokenizer_config.json"), (listed_by_older_releases, "added_tokens.json")])
def test_a_token_that_tokenizer_json_lacks_is_a_warning(evaluate, tmp_path, by, file):
    folder = save_llama(tmp_path / "model")
    by(folder, "<think>")
    peer, own = transformers.AutoTokenizer.from_pretrained(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert peer.encode("a<think>", add_special_tokens=False)[1:] == [TOKENIZER]
    assert len(own.encode("a<think>", add_special_tokens=False).ids) == 8
    process = evaluate("check", folder).process
    assert process.returncode == 0, process.stderr
    said = f'{folder}/{file}: is not read, and adds the token "<think>" to those of tokenizer.json; where texts contain it, save the tokenizer again'
    assert process.stderr.count(said) == 1, process.stderr
    peer.save_pretrained(folder)  # as the warning says
    assert "<think>" in Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    process = evaluate("check", folder).process
    assert process.returncode == 0 and "is not read" not in process.stderr, process.stderr


@pytest.mark.parametrize("special", [True, False])
def test_a_token_that_is_special_or_that_tokenizer_json_has_is_no_warning(evaluate, tmp_path, special):
    folder = save_llama(tmp_path / "model")
    if not special:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.add_tokens([AddedToken("<think>", normalized=False)])
        tokenizer.save(str(folder / "tokenizer.json"))
    listed(folder, "<think>", special)
    (folder / "added_tokens.json").write_text(json.dumps({"<think>": TOKENIZER}), encoding="utf-8")
    process = evaluate("check", folder).process
    assert process.returncode == 0 and "is not read" not in process.stderr, process.stderr


def test_a_damaged_tokenizer_config_is_no_error(evaluate, tmp_path):
    folder = save_llama(tmp_path / "model")
    for content in ("{", '{"added_tokens_decoder": 3}', '{"added_tokens_decoder": {"3": null, "4": {"content": 5}}}'):
        (folder / "tokenizer_config.json").write_text(content, encoding="utf-8")
        process = evaluate("check", folder).process
        assert process.returncode == 0 and "is not read" not in process.stderr, process.stderr


def test_a_token_that_tokenizer_model_lacks_is_a_warning_also_beside_a_tokenizer_json_without_it(run, experiment, tmp_path):
    folder = copy_of_tiny_books(tmp_path / "model")
    listed(folder, "[NAME]", number=4096)
    (folder / "tokenizer.json").write_text('{"added_tokens": [{"content": "<s>", "special": true}]}', encoding="utf-8")
    process = run("check", experiment({"model.path": str(folder)}))
    assert process.returncode == 0, process.stderr
    assert process.stderr.count(f'{folder}/tokenizer_config.json: is not read, and adds the token "[NAME]" to those of tokenizer.model') == 1
