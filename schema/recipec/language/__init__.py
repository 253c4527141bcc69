"""The recipe language, version 1: what a recipe may say, each word with its type, range and meaning."""

from recipec.language.recipe import Recipe

__all__ = ["Recipe"]
