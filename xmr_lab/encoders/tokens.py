"""Texts into tokens: words of any language (Chinese ones segmented), characters, and a list of stop words."""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["Tokens", "stop_words", "tokenize"]

Tokens = Literal["word", "character"]

_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_RUN = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+")  # Chinese characters in a row, or letters and digits of other scripts


def tokenize(text: str, tokens: Tokens = "word", *, stop: frozenset[str] = frozenset()) -> list[str]:
    """The tokens of a text, in lower case and without punctuation.

    Chinese is written without spaces; its words are found by a dictionary and a statistical model (jieba's).
    Japanese and Thai have no spaces either, and are not segmented properly.

    Args:
        text: in any language.
        tokens: ``"word"``, or ``"character"`` for letters, digits and Chinese characters one by one.
        stop: words to leave out.

    Examples:
        >>> tokenize("A red apple, isn't it?")
        ['a', 'red', 'apple', 'isn', 't', 'it']
        >>> tokenize("一只粉红色的火烈鸟。")
        ['一只', '粉红色', '的', '火烈鸟']
        >>> tokenize("猫 cat", "character")
        ['猫', 'c', 'a', 't']
    """
    if tokens not in ("word", "character"):
        raise ValueError(f"unknown tokens {tokens!r}; expected 'word' or 'character'")
    runs = _RUN.findall(text.lower())
    pieces = [piece for run in runs for piece in (run if tokens == "character" else _segment(run))]
    return [piece for piece in pieces if piece not in stop]


def stop_words() -> frozenset[str]:
    """scikit-learn's list of 318 English stop words, which holds "fire", "system", "two" and "nothing" as well.

    References:
        Nothman, Qin & Yurchak (2018), doi:10.18653/v1/W18-2502, on what is wrong with such lists.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return ENGLISH_STOP_WORDS


def _segment(run: str) -> list[str]:
    if not re.match(f"[{_HAN}]", run):
        return [run]
    import rjieba

    return rjieba.cut(run)
