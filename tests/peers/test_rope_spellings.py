"""RoPE as config.json spells it, under `rope: {type: model}`: the tables of transformers' LlamaRotaryEmbedding at lengths within and beyond
the trained ones, or no table in either program; where we part from transformers, we refuse what it guesses, or read what it cannot."""
import json
import subprocess

import pytest
import torch
from transformers import AutoConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from conftest import BUILD, existing
from rope_spellings import SPELLINGS

LENGTHS = [1, 64, 65, 128, 129, 512, 513, 1024]
MODEL = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 2048, "hidden_size": 128, "intermediate_size": 352,
         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2,
         "max_position_embeddings": 512}

# transformers computes something and says little or nothing; we say what is wrong.
REFUSED = {
    "proportional": "Gemma's type, which means linear for a model that turns all of a head",
    "by-layer-type": "plain RoPE, since Llama has no types of layers: not what was written",
    "scaling-false": "false is no dictionary",
    "both-dictionaries-differing": "rope_scaling wins, without a word",
    "both-dictionaries-without-the-theta-of-one": "rope_scaling wins whole, and rope_parameters' rope_theta is lost",
    "theta-in-parameters-and-scaling-elsewhere": "as above",
    "linear-factor-below-1": "frequencies above the trained ones, with a warning",
    "linear-factor-0": "infinite frequencies, with a warning",
    "linear-factor-true": "counts as 1",
    "yarn-broken-original": "128.5 tokens",
    "yarn-factor-below-1": "frequencies above the trained ones, with a warning",
    "yarn-max-below-original-factor-null": "a factor of 0.5, as above",
    "yarn-attention_factor-0": "all logits of attention become 0, without a warning",
    "yarn-betas-the-same": "no ramp, only what rounding its ends makes of it",
    "yarn-betas-turned-round": "the ramp runs backwards, with a warning",
    "yarn-original-of-2": "the ramp runs backwards, without a warning",
    "llama3-freq-factors-the-same": "a step in place of the blend, with a warning",
    "llama3-freq-factors-turned-round": "as above",
    "longrope-factor-below-1": "attention as with a factor of 1, with a warning",
    "longrope-list-of-one": "one number for all pairs, with a warning",
}

# transformers fails; we read it as the spelling that is named.
READ = {
    "longrope-su": ("longrope-v4", "the older name, which Phi-3's own code and vLLM read so"),
    "theta-null": ("nothing", "null is absent"),
    "parameters-theta-null": ("nothing", "null is absent"),
    "yarn-original-null": ("yarn-original-missing", "null is absent"),
    "yarn-original-at-top-null": ("yarn-rope_type", "null is absent"),
}


def transformers_tables(folder):
    """[(inv_freq, attention factor)] by length; each of a fresh model, since a dynamic one remembers the longest."""
    tables = []
    for length in LENGTHS:
        rotary = LlamaRotaryEmbedding(AutoConfig.from_pretrained(folder))
        rotary(torch.zeros(1), torch.arange(length)[None])
        tables.append((rotary.inv_freq.double(), float(rotary.attention_scaling)))
    return tables


def our_tables(folder):
    """The same, or the error's text."""
    program = existing(BUILD / "tests/rope_table", "scripts/build makes it (QROAR_BUILD names another build folder)")
    done = subprocess.run([program, folder, *map(str, LENGTHS)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        assert done.returncode == 1 and done.stdout == "", done
        return done.stderr.splitlines()[-1]
    return [(torch.tensor(table["inv_freq"], dtype=torch.float64), table["attention_factor"]) for table in json.loads(done.stdout)]


def write(folder, spelling):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(MODEL | SPELLINGS[spelling]), encoding="utf-8")
    return folder


def assert_same(ours, theirs):
    assert not isinstance(ours, str), ours
    for length, (found, attention), (expected, scaling) in zip(LENGTHS, ours, theirs):
        # transformers takes powers, products and YaRN's and Llama 3's blends in float32.
        assert torch.allclose(found, expected, rtol=2e-6, atol=0), f"{length} tokens: {found} instead of {expected}"
        assert attention == pytest.approx(scaling, rel=1e-12), f"{length} tokens"


def test_there_are_many_spellings_and_the_lists_of_differences_name_them():
    assert len(SPELLINGS) >= 160
    assert set(REFUSED) | set(READ) <= set(SPELLINGS)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_gives_the_table_that_transformers_computes(tmp_path, spelling):
    folder = write(tmp_path / "model", spelling)
    ours = our_tables(folder)
    try:
        theirs = transformers_tables(folder)
    except Exception as error:  # of many kinds: KeyError, TypeError, RuntimeError, its own validation errors
        theirs = f"{type(error).__name__}: {error}"
    if spelling in REFUSED:
        assert not isinstance(theirs, str), f"transformers refuses it, too: {theirs}"
        assert isinstance(ours, str), f"{REFUSED[spelling]}; {ours}"
    elif spelling in READ:
        assert isinstance(theirs, str), "transformers reads it by now; compare the tables"
        assert_same(ours, transformers_tables(write(tmp_path / "same", READ[spelling][0])))
    elif isinstance(theirs, str):
        assert isinstance(ours, str), f"transformers refuses it ({theirs}); we compute {ours}"
    else:
        assert_same(ours, theirs)
