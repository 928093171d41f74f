"""Sets up a run on banking77 (PolyAI, CC BY 4.0): eight labels, a vague seed prompt, local Qwen models.

    python benchmarks/banking77.py --data DATA/banking77 --models MODELS --into FOLDER
    cd FOLDER && promptlearn run --json

DATA/banking77 holds `train.csv` and `test.csv` (columns text, category); MODELS holds `qwen-coder-0.5b.gguf` and
`qwen-coder-1.5b.gguf`. Test rows come from `test.csv` alone. Writes a configuration and a table, runs nothing.
"""

import argparse
import csv
from pathlib import Path

LABELS = (
    "card_arrival",
    "lost_or_stolen_card",
    "card_payment_fee_charged",
    "exchange_rate",
    "top_up_failed",
    "request_refund",
    "passcode_forgotten",
    "pending_transfer",
)
SEED = "You are a bank's support assistant. Classify the customer's message.\n"
CONFIG = """\
prompt: prompt.yaml
data:
  file: messages.csv
  inputs: [text]
  expected: category
  split: {{column: split}}
  limit: {{validation: 40, test: 100}}
models:
  task: {{model: local/{models}/qwen-coder-0.5b.gguf, max_tokens: 16, temperature: 0}}
  judge: local/{models}/qwen-coder-1.5b.gguf
  meta: {{model: local/{models}/qwen-coder-1.5b.gguf, max_tokens: 512}}
search: {{prune: false, seed: {seed}}}
budget: {{task_calls: 400}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.into.mkdir(parents=True, exist_ok=True)
    with (args.into / "messages.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "category", "split"])
        for name in ("train", "test"):
            with (args.data / f"{name}.csv").open(encoding="utf-8", newline="") as source:
                rows = [row for row in csv.DictReader(source) if row["category"] in LABELS]
            for number, row in enumerate(rows):
                split = "validation" if name == "train" and number % 4 == 0 else name
                writer.writerow([row["text"], row["category"], split])
    prompt = f'messages:\n  - role: system\n    content: "{SEED.strip()}"\n'
    (args.into / "prompt.yaml").write_text(prompt, encoding="utf-8")
    config = CONFIG.format(models=args.models.resolve(), seed=args.seed)
    (args.into / "promptlearn.yaml").write_text(config, encoding="utf-8")


if __name__ == "__main__":
    main()
