"""The rows of local data files held against what a recipe says of them, before anything runs, and without pandas.

A file that is not here is not checked: a recipe may be compiled elsewhere than where it runs. Of Parquet only the footer is read.
"""

from __future__ import annotations

NAMES = {  # of the codes that a recipe may allow, with the reason
    "D001": "unreadable-data",
    "D002": "rows-that-are-no-mappings",
    "D003": "missing-columns",
    "D004": "values-of-another-type",
    "D005": "unknown-roles",
    "D006": "empty-turns",
    "D007": "rows-without-an-answer",
    "D008": "turns-out-of-order",
    "D009": "equal-pairs",
    "D010": "labels-of-one-kind",
    "D011": "no-rows",
    "D012": "repeated-rows",
    "D013": "validation-rows-in-training",
    "D014": "fewer-rows-than-a-batch",
    "D015": "missing-file",
    "D016": "answers-of-another-shape",
    "D020": "answers-of-another-role",
    "D021": "source-given-twice",
    "D022": "rows-in-two-sources",
    "D023": "template-tokens-in-text",
    "D024": "answers-that-repeat-the-prompt",
    "D025": "labels-out-of-balance",
    "D026": "rows-longer-than-max-length",
    "D027": "schedule-longer-than-the-rows",
    "D028": "interval-longer-than-the-rows",
    "D029": "values-that-csv-changes",
    "D030": "fields-that-are-lost",
    "D031": "fields-that-are-not-read",
    "D032": "pairs-without-a-prompt",
    "D033": "many-passes-over-the-rows",
    "D034": "text-read-in-another-encoding",
    "D035": "conversations-without-a-last-answer",
    "D036": "answers-all-alike",
    "D037": "fewer-rows-than-are-read",
    "D060": "files-elsewhere",
    "D062": "no-tasks",
}
