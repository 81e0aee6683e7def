"""The same questions asked by lm-evaluation-harness (PyPI: lm-eval), from local files: its own tasks load theirs from the hub."""
import functools
import json
import lzma
import textwrap
from pathlib import Path

# As the harness' tasks of these names have them (lm_eval/tasks/{arc,hellaswag,piqa,super_glue/boolq,winogrande}); ours: configs/tasks.
PROMPTS = {
    "arc_easy": r"Question: {{query}}\nAnswer:",
    "arc_challenge": r"Question: {{query}}\nAnswer:",
    "hellaswag": "{{query}}",
    "piqa": r"Question: {{query}}\nAnswer:",
    "boolq": r"{{passage}}\nQuestion: {{query}}?\nAnswer:",
}
CHOICES = {"boolq": '["no", "yes"]'}
TASKS = [*PROMPTS, "winogrande"]

WINOGRANDE = '''\
def doc_to_text(doc):
    return doc["label"]


def doc_to_target(doc):
    return doc["sentence"][doc["sentence"].index("_") + 1:].strip()


def doc_to_choice(doc):
    return [doc["sentence"][:doc["sentence"].index("_")] + choice for choice in doc["choices"]]
'''


def write_bench(data, folder, limit):
    """The first questions of every file under QROAR_DATA/bench, unpacked: {task: path}."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name in TASKS:
        lines = lzma.decompress((Path(data) / f"bench/{name}.jsonl.xz").read_bytes()).decode("utf-8").splitlines()[:limit]
        files[name] = folder / f"{name}.jsonl"
        files[name].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return files


def write_tasks(files, folder, shots=0):
    """The harness' task files; their names end in _local."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "winogrande_local.py").write_text(WINOGRANDE, encoding="utf-8")
    for name, path in files.items():
        if name == "winogrande":
            asked = textwrap.dedent("""\
                doc_to_text: !function winogrande_local.doc_to_text
                doc_to_target: !function winogrande_local.doc_to_target
                doc_to_choice: !function winogrande_local.doc_to_choice
                """)
        else:
            asked = f'doc_to_text: "{PROMPTS[name]}"\ndoc_to_target: label\ndoc_to_choice: {json.dumps(CHOICES.get(name, "choices"))}\n'
        norm = "" if name == "winogrande" else "  - metric: acc_norm\n    aggregation: mean\n    higher_is_better: true\n"
        (folder / f"{name}_local.yaml").write_text(
            f"task: {name}_local\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {path}}}}}\ntest_split: test\n"
            f"fewshot_split: test\nfewshot_config: {{sampler: first_n}}\nnum_fewshot: {shots}\noutput_type: multiple_choice\n{asked}"
            f"metric_list:\n  - metric: acc\n    aggregation: mean\n    higher_is_better: true\n{norm}", encoding="utf-8")


def tokenizer_of(model_folder):
    """The folder's tokenizer.model, which transformers reads only with protobuf; None where it has a tokenizer.json."""
    from sentencepiece import SentencePieceProcessor
    from transformers import PreTrainedTokenizer

    if (Path(model_folder) / "tokenizer.json").exists():
        return None

    class Pieces(PreTrainedTokenizer):
        def __init__(self):
            self.pieces = SentencePieceProcessor(model_file=str(Path(model_folder) / "tokenizer.model"))
            super().__init__(bos_token="<s>", eos_token="</s>", unk_token="<unk>")

        vocab_size = property(lambda self: self.pieces.vocab_size())

        def get_vocab(self):
            return {self.pieces.id_to_piece(i): i for i in range(self.vocab_size)}

        def _tokenize(self, text, **_):
            return self.pieces.encode(text, out_type=str)

        def _convert_token_to_id(self, token):
            return self.pieces.piece_to_id(token)

        def _convert_id_to_token(self, index):
            return self.pieces.id_to_piece(index)

        def build_inputs_with_special_tokens(self, ids, _=None):
            return [self.bos_token_id, *ids]

    return Pieces()


@functools.cache
def load(model_folder, dtype, batch_size, threads, **options):
    import torch
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(threads)
    return HFLM(pretrained=str(model_folder), tokenizer=tokenizer_of(model_folder), dtype=dtype, device="cpu", batch_size=batch_size, **options)


def ask(model_folder, tasks, dtype="float32", batch_size=8, threads=1, **options):
    """{task: [(log-likelihoods, acc, acc_norm or None)]} by the harness, in the files' order.  One thread, where others use the cores, too:
    more would wait for each other.  options: the harness' own, as max_length and add_bos_token."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    model = load(model_folder, dtype, batch_size, threads, **options)
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    names = sorted(path.stem for path in tasks.glob("*.yaml"))
    found = lm_eval.simple_evaluate(model=model, tasks=names, task_manager=manager, log_samples=True, bootstrap_iters=0)
    answers = {}
    for name in names:
        samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
        answers[name.removesuffix("_local")] = [([float(response[0]) for response in sample["filtered_resps"]], sample["acc"], sample.get("acc_norm"))
                                                for sample in samples]
    return answers
