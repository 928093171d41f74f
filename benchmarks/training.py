"""One training step and the sampling of one group, ours against TRL's GRPOTrainer and transformers' `generate`.

    python benchmarks/training.py [--threads 1] [--rounds 3] [--part step|sampling]

Both sides have the same model (SmolLM2-135M, float32, LoRA of rank 16 on every linear layer), the same random tokens
and the same lengths, and take turns in one process. A training step is loss, gradient, clipping and Adam for one group;
TRL takes its own shortcut for fresh samples and computes no second forward pass. Sampling is at temperature 1 from an
adapter that was published after a step, and none may end early; each round has a prompt of its own, because ours keeps
what it has read of the one before. Medians over the rounds, after a small step of each to warm up. Times are of the
processor, which other processes disturb less than the clock; the ratio by the clock stands in brackets.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from promptlearn.tuning.base import Adam, Lora, Loss, Sample, TrainSample, training_sampling
from promptlearn.tuning.local.learner import LocalLearner
from promptlearn.tuning.local.loading import load
from promptlearn.tuning.local.policy import Policy
from promptlearn.tuning.local.sampler import LocalSampler

MODEL = "local/smollm2-135m-instruct"
SHAPES = ((500, 8, 16), (200, 8, 64), (50, 8, 256))
"""(prompt tokens, samples, tokens of a completion)."""
WARM_UP = (20, 2, 2)
SKIPPED = "– | – | –"
RANK, ALPHA = 16, 32


def trl_trainer(model: Any, tokenizer: Any, folder: str) -> Any:
    from datasets import Dataset
    from peft import LoraConfig
    from trl import GRPOConfig, GRPOTrainer

    config = GRPOConfig(
        output_dir=folder, use_cpu=True, bf16=False, activation_checkpointing=False, num_generations=8,
        per_device_train_batch_size=8, report_to=[], loss_type="dapo", beta=0.0,
    )  # fmt: skip
    lora = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")
    trainer = GRPOTrainer(
        model=model, reward_funcs=lambda completions, **_: [0.0] * len(completions), args=config,
        train_dataset=Dataset.from_dict({"prompt": ["a"] * 8}), processing_class=tokenizer, peft_config=lora,
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    trainer.args.steps_per_generation = 1
    trainer.model.train()
    return trainer


def random_ids(count: int, seed: int) -> list[int]:
    return torch.randint(100, 40_000, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def rollouts(prompt: int, group: int, completion: int) -> list[TrainSample]:
    generator = torch.Generator().manual_seed(prompt)
    prompt_ids = torch.randint(100, 40_000, (prompt,), generator=generator).tolist()
    rows = []
    for index in range(group):
        ids = tuple(torch.randint(100, 40_000, (completion,), generator=generator).tolist())
        sample = Sample(index, ids, (-10.0,) * completion, "length", 0)
        row = TrainSample.of(prompt_ids, sample, task_key="a", group="a", reward=float(index % 2))
        advantage = 1.0 if index % 2 else -1.0
        rows.append(row.from_row({**_columns(row), "advantages": [advantage * sampled for sampled in row.mask]}))
    return rows


def _columns(row: TrainSample) -> dict[str, Any]:
    return {name: getattr(row, name) for name in TrainSample.__slots__}


def their_inputs(rows: list[TrainSample]) -> dict[str, torch.Tensor]:
    at = rows[0].prompt_length
    ids = torch.tensor([row.token_ids for row in rows])
    return {
        "prompt_ids": ids[:, :at],
        "prompt_mask": torch.ones_like(ids[:, :at]),
        "completion_ids": ids[:, at:],
        "completion_mask": torch.ones_like(ids[:, at:]),
        "advantages": torch.tensor([row.advantages[-1] for row in rows]),
        "num_items_in_batch": torch.tensor(ids[:, at:].numel()),
    }


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the processor and of the clock."""
    gc.collect()
    cpu, clock = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - clock


def turns(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> str:
    """Cells of the table: ours, theirs, how much faster ours is."""
    pairs = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    (a, a_clock), (b, b_clock) = (
        [statistics.median(pair[side][unit] for pair in pairs) for unit in (0, 1)] for side in (0, 1)
    )
    return f"{a:.2f} | {b:.2f} | {b / a:.2f} × ({b_clock / a_clock:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", choices=("step", "sampling"), help="measure this alone")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.simplefilter("ignore")
    model, tokenizer, _ = load(MODEL, "cpu")
    policy = Policy(model, Lora(rank=RANK, alpha=ALPHA))
    learner, sampler = LocalLearner(policy), LocalSampler(policy)
    other, _, _ = load(MODEL, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        trainer = trl_trainer(other, tokenizer._tokenizer, folder)
        optimizer = torch.optim.AdamW([value for value in trainer.model.parameters() if value.requires_grad], lr=1e-6)
        print(
            f"threads {given.threads}, rounds {given.rounds}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )
        print("| prompt / group / completion | step, s | TRL, s | faster | group sampled, s | generate, s | faster |")
        print("|---|---|---|---|---|---|---|")
        for shape in (WARM_UP, *SHAPES):
            rows = rollouts(*shape)
            inputs = their_inputs(rows)

            def step(rows: list[TrainSample] = rows) -> None:
                learner.forward_backward(rows, Loss("dapo"))
                learner.optim_step(Adam(learning_rate=1e-6))

            def their_step(inputs: dict[str, torch.Tensor] = inputs) -> None:
                trainer.compute_loss(trainer.model, inputs).backward()
                torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()

            seeds = itertools.count()

            def sample(shape: tuple[int, int, int] = shape, seeds: Iterator[int] = seeds) -> None:
                prompt_ids = random_ids(shape[0], seed=next(seeds))

                async def group() -> int:
                    drawn = sampler.sample(prompt_ids, shape[1], training_sampling(shape[2], seed=1))
                    return sum([len(each.token_ids) async for each in drawn])

                assert asyncio.run(group()) == shape[1] * shape[2]

            def generate(rows: list[TrainSample] = rows, shape: tuple[int, int, int] = shape) -> None:
                ids = torch.tensor([row.token_ids[: shape[0]] for row in rows])
                with torch.no_grad():
                    out = trainer.model.generate(
                        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.0, top_p=1.0,
                        top_k=0, min_new_tokens=shape[2], max_new_tokens=shape[2],
                    )  # fmt: skip
                assert out.shape == (shape[1], shape[0] + shape[2])

            rounds = given.rounds if shape != WARM_UP else 1
            trained = turns(step, their_step, rounds) if given.part in (None, "step") or shape == WARM_UP else SKIPPED
            asyncio.run(sampler.publish(learner.save_adapter(Path(folder) / "published")))
            trainer.model.eval()
            sampled = turns(sample, generate, rounds) if given.part in (None, "sampling") else SKIPPED
            trainer.model.train()
            if shape == WARM_UP:
                continue
            print(f"| {' / '.join(map(str, shape))} | {trained} | {sampled} |", flush=True)
        print(f"load afterwards {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
