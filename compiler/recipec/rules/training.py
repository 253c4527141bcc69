"""Rules about the course of a training: what would happen never, or teach nothing."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.kinds.evaluate import Evaluate
from recipec.kinds.train.continued import left
from recipec.kinds.train.records import Train
from recipec.rules.rule import Context, Fault, rule
from recipec.systems.registry import system

PULLED = ("dpo", "ipo", "kto", "simpo", "cpo", "orpo")
AFTER_SFT = ("dpo", "ipo", "kto", "simpo", "cpo")
LONG = 100  # steps: below that, a checkpoint at the end is enough
LORA_RANK = 16  # vLLM's max_lora_rank, which lm-eval leaves as it is (lm_eval/models/vllm_causallms.py, 0.4.11)


@rule("L040", "checkpoint-after-the-end", "warning", sources="")
def never_saved(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds checkpoints that are further apart than the training is long.

    Why is this bad:
    A training that is killed before its end starts from the beginning again.

    Example:
        train: {learning_rate: 1e-5, steps: 400, save: {every: 500}}

    Use instead:
        train: {learning_rate: 1e-5, steps: 400, save: {every: 100}}
    """
    every = s.watch.save_every
    amount = s.length.amount if s.length.unit == "steps" else 0
    if isinstance(every, int) and amount and (every > amount or every == amount >= LONG):
        message = f"the first checkpoint would come at step {every}, and train.steps is {s.length.amount}"
        yield Fault("watch.save_every", message, "save more often")


@rule("L041", "validation-after-the-end", "warning", sources="")
def never_validated(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds validations that are further apart than the training is long.

    Why is this bad:
    Rows are held out, but the model is never validated on them.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat}], holdout: 5%}
        train: {learning_rate: 1e-5, steps: 400, evaluate_every: 1000}

    Use instead:
        train: {learning_rate: 1e-5, steps: 400, evaluate_every: 100}
    """
    every = s.watch.evaluate_every
    if s.length.unit == "steps" and isinstance(every, int) and every > s.length.amount:
        message = f"the first validation would come at step {every}, and train.steps is {s.length.amount}"
        yield Fault("watch.evaluate_every", message, "validate more often, or drop the validation data")


@rule("L311", "log-after-the-end", "warning", sources="")
def never_logged(see: Context, s: Train) -> Iterator[Fault]:
    """Finds log lines that are further apart than the training is long.

    Why is this bad:
    No loss is ever written: nobody sees that a training diverges, nor, afterwards, that it did.

    Example:
        train: {learning_rate: 1e-5, steps: 400, log_every: 500}

    Use instead:
        train: {learning_rate: 1e-5, steps: 400, log_every: 10}
    """
    every = s.watch.log_every
    if s.length.unit == "steps" and every > s.length.amount and see.said.wrote("train.log_every"):
        message = f"the first loss would be logged at step {every:,}, and train.steps is {s.length.amount:,}"
        yield Fault("watch.log_every", message, "log more often, such as every 10 steps")


@rule("L043", "completion-beyond-context", "error", sources="")
def completion_too_long(see: Context, s: Train) -> Iterator[Fault]:
    """Finds completions that may be as long as the model's whole context, or as `max_length`, which leaves no room for a prompt.

    Why is this bad:
    An engine refuses such a length when it starts; others sample positions that the model never learnt, or that are cut off before the loss.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct}
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
        rollout: {max_new_tokens: 8192}
        rewards: [{type: exact}]

    Use instead:
        rollout: {max_new_tokens: 1024}
    """
    known = see.model(s.model.path)
    if s.rollout is None:
        return
    bounded = system(s.trainer).joint_length or see.said.wrote("model.max_length")
    if bounded and s.rollout.max_new_tokens >= s.model.max_length:
        message = f"{s.rollout.max_new_tokens} new tokens leave no room for a prompt in the max_length of {s.model.max_length}"
        yield Fault("rollout.max_new_tokens model.max_length", message, "raise model.max_length, or lower it")
    elif known is not None and known.context is not None and s.rollout.max_new_tokens >= known.context:
        message = (
            f"{s.rollout.max_new_tokens} new tokens leave no room for a prompt in the {known.context} of {known.id}"
        )
        yield Fault("rollout.max_new_tokens", message, "leave room for the longest prompt")


@rule("L044", "preference-without-pull", "error", sources="LLaMA-Factory#8974")
def no_pull(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a preference method whose β is 0.

    Why is this bad:
    β scales the margin between the two answers. With 0 the loss is the same whatever the model says: nothing is learnt,
    and the loss looks steady.

    Example:
        adapter: {rank: 16}
        data: {train: [{path: data/preferences.jsonl, format: preference}]}
        train: {method: dpo, beta: 0, learning_rate: 5e-6}

    Use instead:
        train: {method: dpo, beta: 0.1, learning_rate: 5e-6}
    """
    if s.method in PULLED and s.objective is not None and s.objective.beta == 0:
        advice = "use 0.1, or 2.0 with simpo" if s.method != "orpo" else "use 0.1, or method: sft on the chosen answers"
        yield Fault("objective.beta", f"with beta 0, {s.method} learns nothing from its pairs", advice)


@rule("L045", "preferences-before-instructions", "warning", sources="")
def on_a_base_model(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a preference method that starts from a base model which never learnt to answer.

    Why is this bad:
    These methods move probability between answers that the model could give. A base model gives neither; only ORPO
    teaches to answer at the same time.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B, chat_template: llama3}
        adapter: {rank: 16, also_train: [embed_tokens, lm_head]}
        data: {train: [{path: data/preferences.jsonl, format: preference}]}
        train: {method: dpo, learning_rate: 5e-6}

    Use instead:
        train: {method: orpo, learning_rate: 5e-6}
    """
    untaught = see.plan.maker(s.model.path) is None and (s.adapter is None or s.adapter.start_from is None)
    known = see.model(s.model.path)
    if s.method in AFTER_SFT and untaught and known is not None and known.template == "none":
        advice = "train it on conversations first (stages), start from the instruct model, or use method: orpo"
        yield Fault("method model.path", f"{known.id} is a base model: it never learnt to answer", advice)


@rule("L047", "adapter-that-vllm-refuses", "error", "evaluate", sources="")
def unfit_for_vllm(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds an unmerged adapter to be evaluated by vLLM, which cannot load it.

    Why is this bad:
    vLLM takes plain LoRA up to rank 16 unless told otherwise, and neither DoRA nor layers that are trained in full. The
    evaluation ends with an error, after the training.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct}
        adapter: {rank: 64}
        evaluate: {tasks: [gsm8k], backend: vllm}

    Use instead:
        adapter: {rank: 64, merge: true}
    """
    if s.backend != "vllm":
        return
    adapter = left(see.plan, s.model.adapter)
    if adapter is None or s.model.adapter is None:
        return
    why = "DoRA" if adapter.dora else f"rank {adapter.rank}" if adapter.rank > LORA_RANK else ""
    why = why or ("layers trained in full" if adapter.also_train else "" if adapter.type == "lora" else adapter.type)
    if why:
        advice = "set adapter.merge: true, or evaluate.backend: hf"
        yield Fault("backend", f"vLLM cannot load the adapter of {s.model.name}: {why}", advice)


@rule("L049", "learning-rate-that-diverges", "error", sources="")
def diverges(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a learning rate of Adam or Lion above 0.1, or of 0.01 and more for all weights of a pretrained model.

    Why is this bad:
    These optimisers move every weight by about the learning rate in each step: the model is noise after the first. Most
    often the exponent was lost, or the learning rate and the weight decay are exchanged. Only learnt prompts tolerate such
    rates.

    Example:
        model: {base: my-lab/my-model}
        train: {learning_rate: 2}

    Use instead:
        train: {learning_rate: 2e-5}
    """
    prompt = s.adapter is not None and s.adapter.virtual_tokens > 0
    rate, decay = s.optimizer.learning_rate or 0.0, s.optimizer.weight_decay
    pretrained = s.adapter is None and see.said.recipe.model.from_scratch is None
    adam = s.optimizer.name.startswith(("adam", "ademamix", "lion")) and s.script is None
    if adam and not prompt and (rate > 0.1 or (pretrained and rate >= 0.01)):
        exchanged = 0 < decay <= 1e-3
        advice = f"it looks exchanged with weight_decay {decay:g}" if exchanged else "was 1e-4 or 1e-5 meant?"
        yield Fault("optimizer.learning_rate", f"{s.optimizer.name} with a learning rate of {rate:g} diverges", advice)


@rule("L110", "weighed-rows-held-out", "warning", sources="")
def copies_held_out(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a source of weight 2 or more whose rows are partly held out.

    Why is this bad:
    Each trainer takes the rows as often as the weight says, and then holds out some of them: a held-out row is a training
    row too, so validation loss falls although nothing new is learnt, and early stopping never stops.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat, weight: 2}], holdout: 5%}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat, weight: 2}], validation: [{path: data/held.jsonl, format: chat}]}
    """
    if not s.data.holdout or s.script is not None:
        return
    for index, source in enumerate(s.data.train):
        if source.weight > 1:
            message = (
                f"rows are taken {source.weight} times, and then held out: most held-out rows are also training rows"
            )
            yield Fault(f"data.train.{index}.weight", message, "give data.validation instead of holdout")


RULES = (
    copies_held_out,
    diverges,
    never_saved,
    never_validated,
    never_logged,
    completion_too_long,
    no_pull,
    on_a_base_model,
    unfit_for_vllm,
)
