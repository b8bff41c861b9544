"""The registry: what it finds in a tree of toys, what it finds in the book, and what it says about a typing error."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

from overparam import book
from overparam.core import chapters
from overparam.core.chapters import Chapter, Paper, UnknownChapterError
from tests import toys
from tests.conftest import fresh_registry


def paper(*authors):
    return Paper("Title", authors, 2001, "Venue", None, None)


def test_a_paper_is_cited_by_its_first_author_both_or_et_al():
    assert paper("Simon S. Du").short == "Du (2001)"
    assert paper("Nuoya Xiong", "Lijun Ding").short == "Xiong & Ding (2001)"
    assert paper("Nuoya Xiong", "Lijun Ding", "Simon S. Du").short == "Xiong et al. (2001)"


# --- The book itself --------------------------------------------------------------------------------------------


def test_the_registry_is_read_without_importing_torch():
    code = """
import sys
from overparam.core import chapters
assert chapters.chapters() and chapters.ledger() is not None
assert chapters.chapters()[0].digest()
assert not {"torch", "numpy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("chapter", chapters.chapters(), ids=lambda c: c.name)
def test_what_the_source_says_is_what_the_module_says(chapter):
    module = importlib.import_module(f"overparam.{chapter.part}.{chapter.slug}")
    assert chapter.paper == module.PAPER
    assert chapter.level == getattr(module, "LEVEL", "intermediate")
    assert module.__doc__.startswith(f"{chapter.title}.")
    assert chapter.load() is module


def test_no_module_with_a_paper_is_forgotten():
    mentioned = {
        ".".join(path.relative_to(chapters.PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        for path in chapters.PACKAGE.rglob("*.py")
        if "\nPAPER" in path.read_text()
    }
    assert {c.name.replace("/", ".") for c in chapters.chapters()} == mentioned


# --- A tree of toys ---------------------------------------------------------------------------------------------


def test_modules_and_packages_with_a_paper_are_chapters_and_nothing_else_is(toy_book):
    coin, dice = chapters.chapters()
    assert coin == Chapter(
        "games",
        "coin",
        "Tossing a coin",
        Paper("On [a] Coin", ("Ann Lee", "Bo Ek"), 1999, "Toys", "9901.00001", None),
        "introductory",
    )
    assert (dice.name, dice.title, dice.level) == ("games/dice", "Throwing dice", "intermediate")
    assert dice.load().run.__module__ == "overparam.games.dice.throws"


def test_parts_come_in_the_books_order_and_unknown_ones_last(toy_book):
    for part in ("numerics", "dynamics", "__pycache__"):
        (toy_book / part).mkdir()
    for part in ("numerics", "dynamics"):
        (toy_book / part / "__init__.py").write_text(f'"""About {part}."""')
    with fresh_registry():
        assert list(chapters.parts().items()) == [
            ("dynamics", "About dynamics"),
            ("numerics", "About numerics"),
            ("aardvarks", "Part to come"),
            ("games", "Games of chance"),
        ]


def test_a_paper_may_carry_a_type_and_a_part_need_not_say_anything(toy_book):
    (toy_book / "aardvarks" / "__init__.py").write_text("")
    source = 'from typing import Final\nLEVEL: str\nPAPER: Final = Paper("T", ("A B",), 1, "V", None, None)\n'
    (toy_book / "aardvarks" / "ants.py").write_text(source)
    with fresh_registry():
        assert chapters.find("ants") == Chapter("aardvarks", "ants", "ants", Paper("T", ("A B",), 1, "V", None, None))
        assert chapters.parts()["aardvarks"] == "aardvarks"


def test_a_chapter_that_lacks_a_name_of_the_protocol_is_refused_by_name(toy_book):
    source = (toy_book / "games" / "coin.py").read_text()
    cut = source.replace("def plot", "def draw").replace("FULL =", "HUGE =")
    (toy_book / "games" / "coin.py").write_text(cut)
    with pytest.raises(AttributeError, match=r"^chapter games/coin lacks FULL, plot$"):
        chapters.find("coin").load()


@pytest.mark.parametrize("name", ["coin", "games/coin"])
def test_a_chapter_is_found_by_its_name_and_by_its_slug(toy_book, name):
    assert chapters.find(name).name == "games/coin"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("coyn", "coin"), ("games/coyn", "games/coin"), ("game/coin", "games/coin"), ("dices", "dice"), ("Coin", "coin")],
)
def test_a_mistyped_name_is_answered_with_the_nearest(toy_book, typed, meant):
    with pytest.raises(UnknownChapterError, match=f"^no chapter '{typed}'; did you mean '{meant}'\\?$"):
        chapters.find(typed)


@pytest.mark.parametrize("name", ["", "quantum", "games", "helpers", "games/coin/"])
def test_what_is_no_chapter_is_not_found(toy_book, name):
    with pytest.raises(UnknownChapterError, match=f"^no chapter '{name}'; "):
        chapters.find(name)


# --- Digests ----------------------------------------------------------------------------------------------------


def digests(names=("coin", "dice")):
    return [chapters.find(name).digest() for name in names]


def test_a_digest_changes_with_the_chapters_own_source_alone(toy_book):
    coin, dice = digests()
    (toy_book / "games" / "coin.py").write_text(toys.CHAPTER + "# longer\n")
    (toy_book / "games" / "helpers.py").write_text("# other\n")
    (toy_book / "cli.py").write_text("# other\n")
    new_coin, same_dice = digests()
    assert new_coin != coin
    assert same_dice == dice
    (toy_book / "games" / "coin.py").write_text(toys.CHAPTER)
    assert digests() == [coin, dice]


@pytest.mark.parametrize("file", ["games/dice/throws.py", "games/dice/more.py"])
def test_a_digest_covers_every_file_of_a_package(toy_book, file):
    coin, dice = digests()
    with (toy_book / file).open("a") as source:
        source.write("# a change\n")
    same_coin, new_dice = digests()
    assert same_coin == coin
    assert new_dice != dice


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        ("compute", True),  # which the coin imports
        ("environment", True),  # which compute imports
        ("claims", True),
        ("fits", False),  # which the coin does not need
        ("figures", False),  # which it needs, but not for its numbers
        ("chapters", False),
    ],
)
def test_the_digest_of_core_covers_the_modules_that_the_chapters_numbers_come_from(toy_book, module, changed):
    coin, dice = (chapters.find(name) for name in ("coin", "dice"))
    before = coin.digest(), coin.core_digest(), dice.core_digest()
    with (toy_book / "core" / f"{module}.py").open("a") as source:
        source.write("# a change\n")
    assert coin.digest() == before[0]
    assert (coin.core_digest() != before[1]) is changed
    assert dice.core_digest() == before[2]  # it imports nothing of core but its paper's type


@pytest.mark.parametrize(
    "statement",
    [
        "from overparam.core import compute, fits as f",
        "import overparam.core.fits",
        "import torch, overparam.core.fits as fits",
        "from overparam.core.fits import loglog_slope",
        "def late():\n    from overparam.core import fits",
    ],
)
def test_every_way_to_import_from_core_counts(toy_book, statement):
    coin = chapters.find("coin")
    with (toy_book / "games" / "coin.py").open("a") as source:
        source.write(f"{statement}\n")
    before = coin.core_digest()
    with (toy_book / "core" / "fits.py").open("a") as source:
        source.write("# a change\n")
    assert coin.core_digest() != before


def test_a_pages_digest_covers_its_chapters_all_of_core_and_no_other_file(toy_book):
    before = chapters.page_digest("games"), chapters.page_digest("games", "coin")
    (toy_book / "games" / "helpers.py").write_text("# other\n")
    assert (chapters.page_digest("games"), chapters.page_digest("games", "coin")) == before
    (toy_book / "games" / "dice" / "throws.py").write_text("# other\n")
    assert chapters.page_digest("games") != before[0]
    assert chapters.page_digest("games", "coin") == before[1]
    with (toy_book / "core" / "figures.py").open("a") as source:
        source.write("# a change\n")
    assert chapters.page_digest("games", "coin") != before[1]


def test_a_parts_page_is_a_notebook_once_it_computes(toy_book, tmp_path):
    page = tmp_path / "games" / "index.md"
    page.parent.mkdir()
    page.write_text("# Games\n")
    assert book.notebooks(tmp_path) == {}
    page.write_text("# Games\n\n```{code-cell} ipython3\n1 + 1\n```\n")
    assert book.notebooks(tmp_path) == {"games/index": chapters.page_digest("games")}


# --- The ledger -------------------------------------------------------------------------------------------------


def test_the_ledger_is_the_committed_file_or_empty(toy_book):
    assert chapters.ledger() == {}
    chapters.BOOK.mkdir()
    (chapters.BOOK / "ledger.json").write_text(json.dumps({"chapters": {"games/coin": {"seeds": [0]}}}))
    assert chapters.ledger() == {"games/coin": {"seeds": [0]}}
