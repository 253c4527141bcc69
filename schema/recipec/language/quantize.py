"""`quantize`: the weights of a trained model in fewer bits, by which it is served."""

from typing import Annotated, Literal

from pydantic import Field

from recipec.language.base import Count, Section, Text, example
from recipec.language.data import DataSource

Scheme = Literal["w4a16", "w8a16", "w8a8", "fp8", "fp8-static", "fp8-block", "nvfp4", "nvfp4a16"]


class Calibration(Section):
    """The rows that a model reads while it is quantised: they show which weights matter, and how large activations get."""

    model_config = example({"data": [{"path": "data/chat.jsonl", "format": "chat"}], "rows": 512, "max_length": 2048})

    data: list[DataSource] | None = Field(
        default=None,
        min_length=1,
        description="Sources of the rows, of any format but unpaired-preference. Default: what the model was trained on last.",
    )
    rows: Count | None = Field(
        default=None, description="How many rows are read, chosen by `seed` from all. Default: 512."
    )
    max_length: Count | None = Field(
        default=None, description="Tokens of a row that are read. Default: 2048, or max_length where that is less."
    )


class Quantize(Section):
    """Weights in fewer bits, in a format that vLLM and Transformers load. An adapter is merged first, into full weights."""

    model_config = example({"scheme": "w4a16", "method": "awq", "group_size": 128})

    scheme: Scheme = Field(
        description="Bits of weights (w) and activations (a), or the format of 8 or 4 bits: fp8 measures activations as it serves, fp8-static by the rows; fp8-block has a scale for each block of 128 × 128 weights; nvfp4a16 keeps activations in 16 bits."
    )
    method: Literal["gptq", "awq", "round"] | None = Field(
        default=None,
        description="How weights are chosen: gptq and awq by the rows, round to the nearest. Default: gptq for whole numbers, round for floating point.",
    )
    tool: Literal["llmcompressor", "gptqmodel"] = Field(
        default="llmcompressor",
        description="What quantises. gptqmodel writes its own format, of w4a16 and w8a16 by gptq or awq.",
    )
    group_size: Annotated[int, Field(ge=8, le=1024)] | Literal["channel"] | None = Field(
        default=None,
        description="w4a16 and w8a16: weights of a row that share a scale, or one for all. Default: 128 for w4a16, channel for w8a16.",
    )
    symmetric: bool | None = Field(
        default=None,
        description="w4a16 and w8a16: scales without a zero point. Default: false for awq, else true.",
    )
    act_order: Literal["static", "group", "none"] | None = Field(
        default=None,
        description="gptq: quantise the columns with large activations first. group keeps their order in the checkpoint, which serves slower. Default: static.",
    )
    damping: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="gptq: share of the Hessian's mean diagonal that is added to it. Default: 0.01.",
    )
    smoothing: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="w8a8: share of an activation's range that SmoothQuant moves into the weights. Default: 0.8; 0 for none.",
    )
    ignore: list[Text] | None = Field(
        default=None,
        description="Layers that stay as they are: names, or `re:` and a pattern. Default: lm_head, and what routes to experts.",
    )
    measure: int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="Further rows, of which the perplexity before and after is recorded. Default: 64, as far as there are so many.",
    )
    calibration: Calibration = Field(default=Calibration(), description="The rows that are read.")
