"""The float32 model against transformers on real models and real text: every logit of 512 tokens within 2e-4, the mean loss within 1e-5."""
import os
import subprocess

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from conftest import lm_tests, model_folder, sample_tokens


@pytest.mark.parametrize("name", ["tiny-books", "stories260k", "smollm2-135m"])
def test_logits_equal_transformers(name, tmp_path):
    folder = model_folder(name)
    tokens = torch.tensor(sample_tokens(name, 512))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.inference_mode():
        logits = model(tokens[None]).logits[0]
    save_file({"tokens": tokens, "logits": logits.contiguous()}, tmp_path / "logits.safetensors")
    environment = os.environ | {"QROAR_MODEL": str(folder), "QROAR_LOGITS": str(tmp_path / "logits.safetensors")}
    done = subprocess.run([lm_tests(), "[transformers]"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "largest logit difference" in done.stdout
    print(done.stdout.splitlines()[0])
