"""Tokens are counted as the library counts them that trains and draws."""

import pytest

from runner.spec.models import builtin_path
from runner.spec.tokens import read_tokens, tokens_in
from tests.tiny_models import write_tiny_model

PROMPTS = [
    "",
    "a photo of sks dog on a purple background",
    "A Photo of a SKS dog, isn't it?  They're  the dog's!!! (50mm f/1.8) ***",
    "don''t 'stop' \"'s\" we'll they'd I'M",
    "naïve café Ünïcödé ﬁ ǅ İstanbul ΣΑΣ",
    "한국어 日本語 Ελληνικά العربية e\u0301",
    "1234 ½ ² Ⅷ ٣ 10,000.5",
    "emoji 🐶🐱 mixed🐶word",
    "tab\tnew\nline\u00a0no-break",
    "<|endoftext|> a dog <|startoftext|>",
    "word " * 60,
    "supercalifragilisticexpialidocious",
]


@pytest.fixture(scope="module")
def library():
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(builtin_path("emoji") / "tokenizer")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_has_the_tokens_that_the_library_gives_it(library, prompt):
    ours = tokens_in(builtin_path("emoji"))
    theirs = library(prompt, add_special_tokens=False).input_ids
    assert ours.split(prompt) == library.convert_ids_to_tokens(theirs)


def test_the_limit_is_the_models_own():
    assert tokens_in(builtin_path("emoji")).most == 24


def test_a_tokenizer_of_the_newer_form_alone_is_read_too():
    base = builtin_path("emoji")

    def read(name):
        return None if name.endswith(("merges.txt", "vocab.json")) else (base / name).read_bytes()

    assert read_tokens(read) == tokens_in(base)


def test_a_model_without_a_readable_tokenizer_has_none(tmp_path):
    assert tokens_in(tmp_path) is None
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer/tokenizer.json").write_text("{")
    assert tokens_in(tmp_path) is None


def test_what_is_cut_is_what_the_model_does_not_read(tmp_path):
    from transformers import CLIPTokenizer

    base = write_tiny_model(tmp_path / "model")
    ours, theirs = tokens_in(base), CLIPTokenizer.from_pretrained(base / "tokenizer")
    assert ours.most == theirs.model_max_length
    prompt = "dog " * ours.room + "red cat"
    assert ours.cut(prompt) == "red cat"
    assert ours.read(prompt) == ("dog " * ours.room).strip()
    assert ours.cut("dog " * ours.room) == ""
