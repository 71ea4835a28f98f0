"""Fine-tune the encoder into the teacher, or keep a classifier that is fine-tuned already."""

import transformers

from stages.core.launch.command import launch
from stages.core.launch.paths import ENCODER, existing
from stages.core.launch.settings import Settings
from stages.core.task.losses import class_weights
from stages.core.text.corpus import label_names, load_corpus
from stages.core.training.device import begin, bf16_wanted, described
from stages.core.training.heads import with_head
from stages.core.training.takeover import take_over
from stages.core.training.trainer import kept_accuracy, learning_curve, save_run, tokenize, train
from stages.core.training.trainers import ConsistencyTrainer


def run(config: Settings) -> str:
    """Write the teacher's checkpoint and its learning curve, reports/finetune.csv."""
    device = begin(config.device, config.processes)
    transformers.set_seed(config.seed)
    corpus = load_corpus()
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        existing(ENCODER), model_max_length=config.model.max_length, truncation_side="right"
    )
    if config.finetune.epochs:
        model = with_head(label_names(corpus))
        curve = train(
            model,
            tokenizer,
            tokenize(corpus, tokenizer),
            config.finetune,
            section="finetune",
            seed=config.seed,
            device=device,
            bf16=bf16_wanted(config.bf16, device),
            trainer_class=ConsistencyTrainer,
            consistency_weight=config.finetune.consistency_weight,
            class_weights=class_weights(config.finetune.class_weights, corpus["train"]["label"][:]),
        )
        accuracy = kept_accuracy(curve)
        done = f"with a validation accuracy of {accuracy:.4f}, trained on {described(device)}"
    else:
        curve = learning_curve([])
        model, done = take_over(label_names(corpus), corpus["validation"], tokenizer, device)
    return f"{save_run('teacher', model, tokenizer, curve)} {done}"


if __name__ == "__main__":
    launch(run, parallel=True)
