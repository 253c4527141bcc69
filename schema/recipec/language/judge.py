"""`evaluate.judge`: answers in conversations, that another model judges."""

from typing import Annotated, Literal

from pydantic import Field

from recipec.language.base import Count, ModelName, Section, Text, example

Dollars = Annotated[float, Field(ge=0, le=10**6)]
Temperature = Annotated[float, Field(ge=0, le=2)]
MOST = 64  # requests at once


class Price(Section):
    """What a judge costs, in dollars for a million tokens."""

    model_config = example({"input": 2.0, "output": 8.0})

    input: Dollars = Field(description="Of what it is sent.")
    output: Dollars = Field(description="Of what it answers.")


class By(Section):
    """A model that judges, behind an API like OpenAI's."""

    model_config = example(
        {"model": "gpt-4.1-2025-04-14", "url": "'https://api.openai.com/v1'", "key_variable": "OPENAI_API_KEY"}
    )

    model: Text = Field(
        description="Its name there; one with a date stays what it is, and scores of today and tomorrow compare."
    )
    url: Text = Field(pattern=r"^https?://", description="Address of the API, up to /v1.")
    key_variable: Text | None = Field(
        default=None,
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Environment variable with the key; its value is in no file.",
    )
    price: Price | None = Field(
        default=None, description="What it costs, for the estimate and the account. Default: tokens alone are counted."
    )
    temperature: Temperature | Literal["model"] = Field(
        default=0.0, description="Sampling temperature, or `model` for a judge that has one of its own."
    )
    max_tokens: Count = Field(default=2048, description="Most tokens of a verdict, with what is said before it.")


class Judge(Section):
    """One benchmark whose answers a model judges. The project ships no questions: they are yours, or come from their makers."""

    model_config = example(
        {
            "benchmark": "mt_bench",
            "questions": "data/mt_bench/question.jsonl",
            "references": "data/mt_bench/reference_answer/gpt-4.jsonl",
            "by": [
                {"model": "gpt-4.1-2025-04-14", "url": "'https://api.openai.com/v1'", "key_variable": "OPENAI_API_KEY"}
            ],
            "allow": ["'https://api.openai.com/v1'"],
        }
    )

    benchmark: Literal["mt_bench", "logickor", "pairs", "rubric"] = Field(
        description="mt_bench: two turns, by FastChat's rules. logickor: a checkout of LogicKor, by its own prompts. pairs: two models' answers to your questions, side by side. rubric: your questions by a rubric of your own."
    )
    name: Text | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9_]{0,40}$",
        description="Name of the scores, which require and reports use. Default: that of the benchmark, with _pairwise behind it in that mode.",
    )
    questions: Text = Field(
        description="File of questions as JSON lines: {question_id, category, turns}, with a reference and a rubric where there are any. logickor: the folder of a checkout, whose evaluator.py writes the prompts, and so is run."
    )
    references: Text | None = Field(
        default=None,
        description="File of reference answers, in FastChat's format. mt_bench judges math, reasoning and coding beside them.",
    )
    mode: Literal["single", "pairwise"] | None = Field(
        default=None,
        description="Score each answer, or compare it with that of `against`, in both orders. Default: pairwise for pairs, else single.",
    )
    against: ModelName | None = Field(
        default=None, description="pairwise: the model whose answers it is compared with, such as base."
    )
    against_answers: Text | None = Field(
        default=None, description="pairwise: a file of answers in FastChat's format, in the place of a model."
    )
    shots: Literal["default", "1-shot", "cot-1-shot"] = Field(
        default="default", description="logickor: what stands before each question, as its templates.py has it."
    )
    by: list[By] = Field(
        min_length=1,
        max_length=8,
        description="Who judges. Of several, the score is their mean, and how far they agree is reported.",
    )
    allow: list[Text] = Field(
        default=[],
        description="Addresses that questions and answers may be sent to; those of this machine need not be listed.",
    )
    prompts: Text | None = Field(
        default=None,
        description="File of your own prompts for the judge, in the format of FastChat's judge_prompts.jsonl. Default: those that are emitted.",
    )
    rubric: Text | None = Field(
        default=None,
        description="rubric: what is a good answer, in words, for questions without a rubric of their own.",
    )
    limit: Count | None = Field(
        default=None, description="Only the first questions; for a trial, not for a result. Default: all."
    )
    max_tokens: Count = Field(default=1024, description="Most tokens of a turn's answer.")
    temperature: Temperature | Literal["category"] | None = Field(
        default=None,
        description="Temperature of the answers, or `category`: as FastChat has it for each category of MT-Bench. Default: category for mt_bench, else 0.",
    )
    attempts: Annotated[int, Field(ge=1, le=10)] | None = Field(
        default=None,
        description="How often a judge whose temperature is not 0 is asked until its verdict can be read. Default: 3.",
    )
    max_unparsed: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.05,
        description="Share of verdicts that may be unreadable: they are in no score, and are counted. With more, the stage fails.",
    )
    max_cost: Dollars | None = Field(
        default=None, description="Dollars that judging one model may cost at most, or nothing is asked. Default: any."
    )
    connections: Annotated[int, Field(ge=1, le=MOST)] = Field(default=8, description="Requests at once.")
