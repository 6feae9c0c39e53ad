"""Opening texts: which files are which split, how lines become sentences, what is carved, and what is refused."""

import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoshrink.data import TextSource, open_images, open_text
from autoshrink.data.images import SPLITS, TEST, TRAIN, VALIDATION
from autoshrink.data.pydocs import sentences_of
from autoshrink.data.text import carve
from autoshrink.data.tokenising import END, Rule, cut, joined
from autoshrink.errors import DataError
from data_fixtures import away_from_home, cifar_binary, penn, photos, picture, sentences, text_file, written, zipped

REAL = Path(os.environ.get("AUTOSHRINK_DATA", "nowhere")) / "ptb"


@pytest.fixture(autouse=True)
def _away_from_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    away_from_home(monkeypatch, tmp_path)


def read(source: TextSource, split: str) -> list[str]:
    """The split's sentences as lines, their tokens parted by spaces."""
    return [" ".join(segment) for segment in source.segments(split)]


# --- tokens


@pytest.mark.parametrize(
    ("line", "rule", "expected"),
    [
        ("  the <unk>  rose N % ", "spaces", ["the", "<unk>", "rose", "N", "%"]),
        ("I don't; so-called, 'x'.", "words", ["I", "don't", ";", "so-called", ",", "'", "x", "'", "."]),
        ("1,000.5 of 3rd (a_b)", "words", ["1,000.5", "of", "3rd", "(", "a_b", ")"]),
        ("<unk> a<b c>=d 12. x…", "words", ["<unk>", "a", "<", "b", "c", ">", "=", "d", "12", ".", "x", "…"]),
        ("l’été—où ?", "words", ["l’été", "—", "où", "?"]),
        ("ab c", "characters", ["a", "b", " ", "c"]),
        ("", "words", []),
    ],
)
def test_cutting_by_hand(line: str, rule: Rule, expected: list[str]) -> None:
    assert cut(line, rule) == expected


@given(line=st.text(st.sampled_from("ab1'’-.,()\"“” <>:%_é"), max_size=30), rule=st.sampled_from(["spaces", "words"]))
def test_setting_and_cutting_gives_the_tokens_again(line: str, rule: Rule) -> None:
    tokens = cut(line, rule)
    assert "".join(tokens) == "".join(line.split())
    assert cut(joined(tokens, rule), rule) == tokens


def test_text_is_set_as_people_write_it() -> None:
    line = 'He said: "Go (now), don\'t wait!" 50% do.'
    assert joined([*cut(line, "words"), END, "So", "."], "words") == f"{line}\nSo."
    assert joined(["a", ",", END, "b"], "spaces") == "a ,\nb"
    assert joined(["a", " ", END, "b"], "characters") == "a \nb"


# --- splits that are given


@pytest.mark.parametrize(
    "pattern", ["ptb.{}.txt", "wiki.{}.tokens", "{}.txt", "{}", "my-{}_set.md", "news.{}", "{}/a.txt", "EN.{}.RAW"]
)
def test_every_layout_of_given_splits(tmp_path: Path, pattern: str) -> None:
    source = open_text(str(penn(tmp_path / "corpus", pattern=pattern)))
    assert (source.name, source.level, source.tokens) == ("corpus", "word", "spaces")
    assert source.given == SPLITS
    assert source.notes == ()
    assert [source.count(split) for split in SPLITS] == [60, 12, 12]
    assert read(source, TRAIN) == [f"{line} <unk> <eos>" for line in sentences(60)]
    assert read(source, TEST)[0] == f"{sentences(1, start=72)[0]} <unk> unseen <eos>"


@pytest.mark.parametrize("word", ["valid", "val", "validation", "dev", "Valid"])
def test_every_word_for_validation(tmp_path: Path, word: str) -> None:
    penn(tmp_path)
    (tmp_path / "ptb.valid.txt").rename(tmp_path / f"ptb.{word}.txt")
    assert open_text(str(tmp_path)).count(VALIDATION) == 12


def test_an_archive_is_read_in_place(tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in penn(tmp_path / "x", pattern="wiki.{}.tokens").iterdir()}
    inside = {f"wikitext-2/{name}": data for name, data in files.items()} | {"__MACOSX/wiki.train.tokens": b"\0"}
    path = zipped(tmp_path / "wikitext2" / "wikitext-2-v1.zip", inside)
    for spec in (path, path.parent):
        source = open_text(str(spec))
        assert source.given == SPLITS
        assert read(source, VALIDATION) == read(open_text(str(tmp_path / "x")), VALIDATION)
    assert list(path.parent.iterdir()) == [path]


def test_known_names_are_looked_up_as_those_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError) as caught:
        open_text("ptb")
    assert "ptb is not on this machine; run: autoshrink data fetch ptb" in str(caught.value)
    assert str(tmp_path / "home" / "autoshrink" / "ptb") in str(caught.value)
    penn(tmp_path / "shelf" / "ptb")
    penn(tmp_path / "shelf" / "wikitext2" / "wikitext-2", pattern="wiki.{}.tokens")
    monkeypatch.setenv("AUTOSHRINK_DATA", str(tmp_path / "shelf"))
    assert open_text("ptb").name == "ptb"
    assert open_text("wikitext2").count(TRAIN) == 60
    (tmp_path / "shelf" / "ptb" / "ptb.valid.txt").rename(tmp_path / "shelf" / "ptb" / "ptb.valid.txt.part")
    with pytest.raises(DataError, match=r"ptb: ptb.valid.txt is missing; run: autoshrink data fetch ptb"):
        open_text("ptb")


def test_what_is_not_given_is_carved_from_training_text_or_is_not_there(tmp_path: Path) -> None:
    penn(tmp_path)
    (tmp_path / "ptb.valid.txt").unlink()
    source = open_text(str(tmp_path))
    assert source.given == (TRAIN, TEST)
    assert [source.count(split) for split in SPLITS] == [54, 6, 12]
    assert sorted(read(source, TRAIN) + read(source, VALIDATION)) == sorted(f"{s} <unk> <eos>" for s in sentences(60))
    assert source.notes == (
        "no validation text is given: 10% of the training text for each, in blocks of consecutive lines "
        "(200 blocks, always the same)",
    )
    (tmp_path / "ptb.test.txt").unlink()
    with pytest.raises(DataError, match=r"no test split, only train; add a file called test.txt"):
        open_text(str(tmp_path)).segments(TEST)
    with pytest.raises(DataError, match=r"no split is called 'trian'; there are train, validation, test"):
        source.segments("trian")


def test_the_test_file_is_opened_for_test_only(tmp_path: Path) -> None:
    penn(tmp_path / "corpus")
    code = f"""
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0]).split("/")[-1]) if event == "open" else None)
from autoshrink.data import load_text_proxy, load_text_split, open_text
spec = {str(tmp_path / "corpus")!r}
load_text_proxy(spec, sentences=9, validation_sentences=9, max_vocabulary=None, min_count=1, seed=0,
                shared_vocabulary=True)
vocabulary = load_text_split(spec, "train", None).vocabulary
print("ptb.test.txt" in opened, "ptb.valid.txt" in opened)
load_text_split(spec, "test", vocabulary)
print("ptb.test.txt" in opened)
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "True", "True"]


# --- what lines become


def test_empty_lines_count_under_the_rule_spaces_only(tmp_path: Path) -> None:
    path = text_file(tmp_path / "a.txt", ["", *(f"{line}\n \t" for line in sentences(40))])
    spaces, words, characters = (
        open_text(str(path), tokens="spaces"),
        open_text(str(path), tokens="words"),
        open_text(str(path), level="char"),
    )
    assert sum(segment == [END] for split in SPLITS for segment in spaces.segments(split)) == 41
    for source in (words, characters):
        assert [len(read(source, split)) for split in SPLITS] == [32, 4, 4]
        assert [source.count(split) for split in SPLITS] == [32, 4, 4]
    assert [spaces.count(split) for split in SPLITS] == [32, 4, 4]
    assert characters.tokens == "characters"
    first = next(characters.segments(TRAIN))
    assert first[-1] == END
    assert "".join(first[:-1]) in sentences(40)


def test_the_rule_is_found_in_the_training_text(tmp_path: Path) -> None:
    lines = sentences(30)
    assert open_text(str(text_file(tmp_path / "a.txt", lines))).tokens == "words"
    assert open_text(str(text_file(tmp_path / "a.txt", [*lines, "a<unk> b"]))).tokens == "words"
    assert open_text(str(text_file(tmp_path / "a.txt", [*lines, "a <unk> b"]))).tokens == "spaces"
    assert open_text(str(tmp_path / "a.txt"), tokens="words").tokens == "words"
    penn(tmp_path / "b")
    text_file(tmp_path / "b" / "ptb.train.txt", lines)
    assert open_text(str(tmp_path / "b")).tokens == "words"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_marks(tmp_path: Path, end: str, mark: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(mark + end.join(sentences(40)).encode())
    source = open_text(str(tmp_path / "a.txt"))
    plain = open_text(str(text_file(tmp_path / "b.txt", sentences(40))))
    assert [read(source, split) for split in SPLITS] == [read(plain, split) for split in SPLITS]


def test_signs_that_only_look_like_line_ends_are_white_space(tmp_path: Path) -> None:
    path = text_file(tmp_path / "a.txt", [f"{line}\x0bmore\u2028and\x85more" for line in sentences(40)])
    assert sum(open_text(str(path)).count(split) for split in SPLITS) == 40


def test_a_folder_of_texts_is_one_text_in_order(tmp_path: Path) -> None:
    root = tmp_path / "books"
    text_file(root / "b.md", sentences(30, start=30))
    text_file(root / "a.txt", sentences(20))
    text_file(root / "a" / "part.txt", sentences(10, start=20))
    text_file(root / ".hidden.txt", ["hidden"])
    text_file(root / ".git" / "x.txt", ["hidden"])
    written(root, {"cover.pdf": b"\0", "Makefile": b"\0"})
    (root / "loop").symlink_to(root)
    source = open_text(str(root))
    order = sentences(20, start=20)[:10] + sentences(20) + sentences(30, start=30)
    places = [order.index(line.removesuffix(" <eos>")) for line in read(source, TRAIN)]
    assert places == sorted(places)
    assert sum(source.count(split) for split in SPLITS) == 60
    assert source.notes[:3] == (
        "the text is 3 files, one after the other: a.txt, a/part.txt, b.md",
        "2 files are ignored by extension, as no text: 1 without extension, 1 .pdf",
        "links to folders are not followed: loop",
    )


def test_names_that_only_sound_like_splits(tmp_path: Path) -> None:
    for name in ("intro.md", "how-to-test.md", "training.md"):
        text_file(tmp_path / "docs" / name, sentences(20))
    assert "how-to-test.md, training.md are called like splits, others (intro.md) are not" in _refused(
        tmp_path / "docs"
    )
    (tmp_path / "docs" / "training.md").unlink()
    source = open_text(str(tmp_path / "docs"))
    assert source.given == (TRAIN,)
    assert source.notes[0] == "no complete set of split files, so all files are one text, also how-to-test.md"
    penn(tmp_path / "docs")
    assert "docs: 2 test files: how-to-test.md, ptb.test.txt; give a folder" in _refused(tmp_path / "docs")
    (tmp_path / "docs" / "how-to-test.md").unlink()
    source = open_text(str(tmp_path / "docs"))
    assert source.given == SPLITS
    assert source.notes == ("files beside the splits are ignored: intro.md",)


# --- carving


@given(count=st.integers(3, 1000), both=st.booleans())
def test_carving_shares_out_blocks(count: int, both: bool) -> None:
    carved = (VALIDATION, TEST) if both else (VALIDATION,)
    parts = carve(count, carved)
    assert parts == carve(count, carved)
    blocks = Counter(parts)
    assert len(parts) == min(200, count)
    for split in carved:
        assert blocks[split] == max(1, round(len(parts) / 10))
    assert blocks[TRAIN] > 0


@pytest.mark.parametrize("count", [20, 57, 200, 777])
@pytest.mark.parametrize("level", ["word", "char"])
def test_carved_splits_share_out_the_lines_in_blocks(tmp_path: Path, count: int, level: str) -> None:
    lines = sentences(count)
    path = text_file(tmp_path / "a.txt", [line for sentence in lines for line in (sentence, "")])
    source = open_text(str(path), level=level)  # type: ignore[arg-type]
    glue = " " if level == "word" else ""
    held = {split: [glue.join(s[:-1]) for s in source.segments(split)] for split in SPLITS}
    assert Counter(line for part in held.values() for line in part) == Counter(lines)
    assert all(part == sorted(part, key=lines.index) for part in held.values())
    for split in (VALIDATION, TEST):
        assert abs(len(held[split]) - count / 10) <= max(1, count / 100)
        places = [lines.index(line) for line in held[split]]
        runs = 1 + sum(after != before + 1 for before, after in pairwise(places))
        assert runs <= 20
    assert source.given == (TRAIN,)


def test_the_carved_lines_of_a_text_are_fixed_for_good(tmp_path: Path) -> None:
    """What was a test line in one version of the project must not be a training line in the next."""
    source = open_text(str(text_file(tmp_path / "a.txt", [str(number) for number in range(40)])))
    assert {split: [int(s[0]) for s in source.segments(split)] for split in (VALIDATION, TEST)} == {
        VALIDATION: [9, 16, 21, 26],
        TEST: [3, 5, 10, 30],
    }


# --- texts with next to no lines


@pytest.mark.parametrize("level", ["word", "char"])
def test_a_text_of_one_line_is_cut_into_pieces(tmp_path: Path, level: str) -> None:
    words = [f"w{number % 97}" for number in range(3000)]
    (tmp_path / "text8").write_text(" " + " ".join(words))
    source = open_text(str(tmp_path / "text8"), level=level)  # type: ignore[arg-type]
    length = {"word": 35, "char": 140}[level]
    pieces = [piece for split in SPLITS for piece in source.segments(split)]
    assert sorted({len(piece) for piece in pieces})[-1] == length
    assert all(END not in piece for piece in pieces)
    total = 3000 if level == "word" else len(" ".join(words)) + 1
    assert sum(map(len, pieces)) == total
    assert len(pieces) == sum(source.count(split) for split in SPLITS) == -(-total // length)
    assert source.notes[0].startswith(f"the text has 1 line; it is cut into pieces of {length} ")
    assert source.pick(VALIDATION, [1]) == list(source.segments(VALIDATION))[1:2]


def test_given_splits_are_cut_into_pieces_together(tmp_path: Path) -> None:
    penn(tmp_path, (1, 30, 2))
    source = open_text(str(tmp_path))
    assert [len(piece) for piece in source.segments(TRAIN)] == [10]
    assert [len(piece) for piece in source.segments(VALIDATION)] == [35] * 8 + [20]


@pytest.mark.parametrize("block", [8, 9, 64])
@pytest.mark.parametrize("end", [" ", "\n"])
@pytest.mark.parametrize("level", ["word", "char"])
def test_where_blocks_end_makes_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, end: str, level: str
) -> None:
    """No word of the text is longer than the shortest block, which would cut it."""
    (tmp_path / "a.txt").write_text(end.join(f"{line} <unk> é\t" for line in sentences(50)), encoding="utf-8")

    def all_of() -> list[object]:
        source = open_text(str(tmp_path / "a.txt"), level=level)  # type: ignore[arg-type]
        return [source.tokens, source.notes, *(list(source.segments(split)) for split in SPLITS)]

    whole = all_of()
    monkeypatch.setattr("autoshrink.data.documents._BLOCK", block)
    assert all_of() == whole


def test_a_text_without_white_space_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("字" * 1000, encoding="utf-8")
    monkeypatch.setattr("autoshrink.data.documents._BLOCK", 64)
    source = open_text(str(tmp_path / "a.txt"), level="char")
    assert sum(len(piece) for split in SPLITS for piece in source.segments(split)) == 1000


# --- pydocs


def test_pydocs_are_sentences() -> None:
    source = open_text("pydocs")
    assert (source.name, source.location, source.tokens, source.given) == ("pydocs", "pydocs", "words", (TRAIN,))
    (document,) = source.files[TRAIN]
    held = list(document.lines())
    assert 2500 < len(held) < 8000
    assert len(set(held)) == len(held)
    assert not [line for line in held if line.startswith(("***", "===", "---", "+--", "|"))]
    assert "Assert statements are a convenient way to insert debugging assertions into a program:" in held
    assert [source.count(split) / len(held) for split in SPLITS] == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    version = ".".join(map(str, sys.version_info[:3]))
    assert f"documentation of Python {version}; another version has another text" in source.notes[0]


def test_hard_wrapped_lines_are_joined_and_others_are_not() -> None:
    topic = """Heading
*******

A first sentence, which is wrapped at the seventieth column as in (e.g.
this one).  "Another" one is comma-separated where the line ends: comma-
separated.  Short.

* An item of a list that is too long for one line, so that it goes on in
  the next.

   x = 1
   y = 2
+-----+
| cut |
+-----+
"""
    assert list(sentences_of(topic)) == [
        "Heading",
        "A first sentence, which is wrapped at the seventieth column as in (e.g. this one).",
        '"Another" one is comma-separated where the line ends: comma-separated.',
        "Short.",
        "* An item of a list that is too long for one line, so that it goes on in the next.",
        "x = 1",
        "y = 2",
    ]


def test_a_python_without_its_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(DataError, match=r"pydocs: this Python has no pydoc_data"):
        open_text("pydocs")


# --- what cannot be used


def _refused(spec: object, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        open_text(str(spec), **options)  # type: ignore[arg-type]
    assert str(caught.value).count("\n") <= 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("pydoc", "did you mean pydocs?"),
        ("ptbb", "did you mean ptb?"),
        ("wikitext-2", "did you mean wikitext2?"),
        ("novel.tx", "did you mean novel.txt?"),
        ("nowhere/at/all", "names: pydocs, ptb, wikitext2; or give the path of a UTF-8 text file"),
        ("digits", "digits is for --task image; for --task text there is pydocs, ptb and wikitext2"),
        ("cifar10", "cifar10 is for --task image"),
        ("x" * 5000, "cannot be opened: "),
    ],
)
def test_wrong_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, hint: str) -> None:
    text_file(tmp_path / "novel.txt", sentences(30))
    monkeypatch.chdir(tmp_path)
    assert hint in _refused(spec)


def test_wrong_levels_and_rules() -> None:
    assert _refused("pydocs", level="byte") == "no level is called 'byte'; there are word, char"
    expected = "no rule for tokens is called 'bpe'; there are auto, spaces, words"
    assert _refused("pydocs", tokens="bpe") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.txt: empty; give a text with words"),
        (b"\xef\xbb\xbf", "a.txt: empty"),
        (b" \n\t\r\n\xc2\xa0\n", "a.txt: only white space; give a text with words"),
        (b"good\nna\xefve text\n", "a.txt, line 2, byte 3: 0xef is not UTF-8; save the text as UTF-8"),
        (b"cut \xe2\x82", "a.txt, line 1, byte 5: 0xe2 is not UTF-8"),
        (b"a\0b\n", "a.txt: binary data (NUL bytes), no text; give a UTF-8 text file"),
        (b"\x89PNG\0\0\n", "a.txt: binary data (NUL bytes)"),
        ("two words".encode("utf-16"), "a.txt: the text is UTF-16; save it as UTF-8"),
        (
            b"too short\n" * 3,
            "a.txt: too short to take validation and test text out of it; needed are more than 70 wor",
        ),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert message in _refused(tmp_path / "a.txt")
    penn(tmp_path / "given")
    (tmp_path / "given" / "ptb.train.txt").write_bytes(content)
    if b"short" not in content:
        assert message.partition(":")[2] in _refused(tmp_path / "given")


def test_bad_text_far_into_a_file_is_found_where_it_stands(tmp_path: Path) -> None:
    good = "\n".join(sentences(3000)).encode()
    penn(tmp_path)
    (tmp_path / "ptb.test.txt").write_bytes(good + b"\nx \xff\n" + good)
    source = open_text(str(tmp_path))
    with pytest.raises(DataError, match=r"ptb.test.txt, line 3001, byte 3: 0xff is not UTF-8"):
        list(source.segments(TEST))
    (tmp_path / "ptb.valid.txt").write_bytes(good + b"\nx \0\n")
    with pytest.raises(DataError, match=r"ptb.valid.txt: binary data"):
        source.count(VALIDATION)


def test_folders_without_text(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty: no text files in it; give a UTF-8 text file" in _refused(tmp_path / "empty")
    pictures = photos(tmp_path / "photos", {"cat": 2, "dog": 2})
    assert "photos: no text files in it; it holds images, which are for the task image; give a UTF-8" in _refused(
        pictures
    )
    assert "red.png holds images, which are for the task image, not text" in _refused(picture(tmp_path / "red.png"))
    penn(tmp_path / "no-train")
    (tmp_path / "no-train" / "ptb.train.txt").unlink()
    assert "no-train: a test file but no train file; call it train.txt" in _refused(tmp_path / "no-train")
    penn(tmp_path / "two")
    text_file(tmp_path / "two" / "ptb.char.train.txt", sentences(20))
    assert "two: 2 train files: ptb.char.train.txt, ptb.train.txt; give a folder that holds one for" in _refused(
        tmp_path / "two"
    )


def test_text_given_for_images(tmp_path: Path) -> None:
    penn(tmp_path / "corpus")
    for spec in (tmp_path / "corpus", tmp_path / "corpus" / "ptb.train.txt"):
        with pytest.raises(
            DataError, match=r"holds text, which is for the task text, not images; give an image folder"
        ):
            open_images(str(spec))
    for name in ("ptb", "pydocs"):
        with pytest.raises(DataError, match=rf"{name} is for --task text; for --task image there is digits and"):
            open_images(name)
    batches = written(tmp_path / "cifar", {**cifar_binary(10), "README.md": b"CIFAR-10"})
    assert len(open_images(str(batches)).labels) == 50


def test_damaged_and_locked_archives(tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in penn(tmp_path / "x").iterdir()}
    data = zipped(tmp_path / "a.zip", files).read_bytes()
    (tmp_path / "a.zip").write_bytes(data[:200])
    assert "a.zip: damaged or truncated archive (File is not a zip file); fetch it again" in _refused(
        tmp_path / "a.zip"
    )
    # The first bit of a file's flags, in both of its headers, says that it is encrypted.
    locked, listed = bytearray(data), data.rindex(b"PK\1\2", 0, data.rindex(b"ptb.train.txt"))
    for flags in (data.index(b"ptb.train.txt") - 24, listed + 8):
        locked[flags] |= 1
    (tmp_path / "b.zip").write_bytes(locked)
    assert "b.zip: ptb.train.txt: cannot be read: " in _refused(tmp_path / "b.zip")
    assert "encrypted" in _refused(tmp_path / "b.zip")
    damaged, start = bytearray(data), data.index(b"ptb.train.txt") + 23
    damaged[start : start + 40] = bytes(40)
    (tmp_path / "c.zip").write_bytes(damaged)
    assert "c.zip: ptb.train.txt: cannot be read: " in _refused(tmp_path / "c.zip")


def test_files_that_the_system_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.txt").symlink_to(tmp_path / "gone")
    assert "train.txt: cannot be read: No such file or directory" in _refused(tmp_path / "corpus")
    assert "null is a pipe, a socket or a device and no file; give a UTF-8" in _refused("/dev/null")
    path = text_file(tmp_path / "a.txt", sentences(30))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        assert "a.txt: cannot be read: Permission denied" in _refused(path)


def test_a_text_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = text_file(tmp_path / "a.txt", sentences(100))
    source = open_text(str(path))
    for count in (99, 101):
        text_file(path, sentences(count))
        with pytest.raises(DataError, match=r"a.txt: the text changed while it was read; run it again"):
            list(source.segments(TRAIN))


# --- the real one


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="no ptb folder in the folder named by AUTOSHRINK_DATA")
def test_penn_treebank_has_the_published_counts() -> None:
    source = open_text(str(REAL))
    assert source.tokens == "spaces"
    assert source.notes == ()
    assert [source.count(split) for split in SPLITS] == [42_068, 3_370, 3_761]
    assert [sum(map(len, source.segments(split))) for split in SPLITS] == [929_589, 73_760, 82_430]
