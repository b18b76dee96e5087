"""Tables as programs save them: read where it is certain what they mean, else said in words of the person who made them."""

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data import load_data
from striate.data.tabletext import decoded
from striate.errors import DataError

ROWS = [(f"img/{name}{number}.png", name) for name in ("cat", "dog") for number in range(3)]


@pytest.fixture
def folder(tmp_path):
    """Six images that differ, and one that has the name of another."""
    for number, (path, _) in enumerate([*ROWS, ("图/猫一.png", ""), ("图/狗一.png", ""), ("more/cat0.png", "")]):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (number * 25, 0, 99)).save(tmp_path / path)
    return tmp_path


def text(rows=ROWS, head=("path", "label"), between=",", end="\n"):
    return end.join(between.join(map(str, row)) for row in [head, *rows]) + end


def relabelled(names, paths=lambda path: path):
    return [(paths(path), names[label]) for path, label in ROWS]


def load(folder, content, name="t.csv"):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    data = load_data(folder / name, size=(8, 8))
    ledger = data.ledger.as_dict()
    assert ledger["entries"] == sum(ledger[fate] for fate in ("used", "excluded", "junk", "unreadable", "other"))
    return data


CHINESE = {"cat": "猫咪", "dog": "小狗"}


@pytest.mark.parametrize(
    ("content", "classes", "note"),
    [
        (text(relabelled(CHINESE)).encode("gb18030"), ("小狗", "猫咪"), "GB18030"),
        (text([("图/猫一.png", "猫"), ("图/狗一.png", "狗")] * 1).encode("gb18030"), ("狗", "猫"), "GB18030"),
        (text(relabelled(CHINESE), between="\t").encode("utf-16"), ("小狗", "猫咪"), "UTF-16, as Excel saves"),
        (text(relabelled(CHINESE)).encode("utf-16-le"), ("小狗", "猫咪"), "UTF-16, though it does not say so"),
        (text(relabelled(CHINESE)).encode("utf-16-be"), ("小狗", "猫咪"), "UTF-16, though it does not say so"),
        (text(relabelled(CHINESE)).encode("utf-8-sig"), ("小狗", "猫咪"), ""),
        (text(between=";"), ("cat", "dog"), "semicolons"),
        ("sep=;\r\n" + text(between=";", end="\r\n"), ("cat", "dog"), "semicolons"),
        (text(between="\t"), ("cat", "dog"), "tabs"),
        (text([(path.replace("/", "\\"), label) for path, label in ROWS]), ("cat", "dog"), "\\ between folders"),
        (text([("C:\\Me\\" + path.replace("/", "\\"), label) for path, label in ROWS]), ("cat", "dog"), "begin with C:/Me"),
        (text([(f"/home/ana/{path}", label) for path, label in ROWS]), ("cat", "dog"), "begin with home/ana"),
        (text([(path[:-4], label) for path, label in ROWS], ("id", "label")), ("cat", "dog"), "without an extension"),
        (text([(f"{path} ", f" {label}  ") for path, label in ROWS]), ("cat", "dog"), ""),
        (text(end=",,\r\n") + ",,,\n\n", ("cat", "dog"), ""),
        (text().replace("\n", "\r\n", 2).replace("dog\n", "dog\r", 1), ("cat", "dog"), ""),
        (text([(path, int(label == "cat"), int(label == "dog")) for path, label in ROWS], ("image", "cat", "dog")),
         ("cat", "dog"), "one column per class"),
        (text([(*row, "8") for row in ROWS], ("path", "label", "width")), ("cat", "dog"), "unused columns: width"),
        (text([(*row, "") for row in ROWS], ("path", "label", "split")), ("cat", "dog"), ""),
        (text([(path, int(label == "dog"), label) for path, label in ROWS], ("path", "label", "class")),
         ("cat", "dog"), "classes are taken from the column class, which agrees with the numbers in label"),
        (text([(path, label, f"{label == 'dog':d}.0") for path, label in ROWS], ("path", "target", "category")),
         ("cat", "dog"), "classes are taken from the column target"),
        (text([(path, int(label == "dog"), label) for path, label in ROWS], ("path", "label", "label_name")),
         ("cat", "dog"), "taken from the column label_name, which agrees with the numbers in label"),
        (text([(*row, row[1] == "x") for row in ROWS], ("path", "label", "class_name")),
         ("cat", "dog"), "unused columns: class_name"),
        (text(ROWS, ("path", "class_name")), ("cat", "dog"), ""),
        (text([*ROWS, ("more/cat0.png", "None")]), ("None", "cat", "dog"), "could mean no class: None"),
        (text([*ROWS, ("more/cat0.png", "-")]), ("-", "cat", "dog"), "could mean no class: -"),
    ],
)  # fmt: skip
def test_read_where_it_is_certain(folder, content, classes, note, recwarn):
    data = load(folder, content)
    assert data.classes == classes
    notes = "\n".join(data.ledger.notes)
    assert note in notes if note else not notes
    if len(data.first.pixels) + len(data.splits["test"].pixels) == 6:
        for part in data.splits.values():
            for path, label, pixels in zip(part.paths, part.labels, part.pixels, strict=True):
                place = [path.endswith(one) for one, _ in ROWS].index(True)
                assert np.all(pixels[..., 0] == place * 25)
                assert list(classes).index({**CHINESE, **{c: c for c in classes}}.get(ROWS[place][1], "")) == label


SIX = [*ROWS[:-1], (ROWS[-1][0], "Dog")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (text([("cat0", "cat"), *ROWS[1:]], ("id", "label")), "row 2: cat0 could be img/cat0.png and more/cat0.png"),
        (text([*ROWS, (ROWS[0][0], "dog")]), "img/cat0.png is cat in row 2 and dog in row 8: keep one"),
        (text([*ROWS, (f"./{ROWS[0][0]}", "dog")]), "is cat in row 2 and dog in row 8"),
        (text(SIX), "'dog' and 'Dog' differ only in capitals"),
        ("# my own\n" + text(), "there is a line above the heading, '# my own': remove it"),
        (text(relabelled({"cat": "dog\u200b", "dog": "dog"})), "differ only in invisible characters"),
        (text(relabelled({"cat": "big dog", "dog": "big-dog"})), "'big dog' and 'big-dog' differ only in their spelling"),
        (text([*ROWS, ("img/x.png", "<NA>")]), "row 8: no class, only <NA>"),
        (text(relabelled({"cat": "1", "dog": "01"})), "'1' and '01' differ only in their spelling"),
        (text(relabelled({"cat": "1", "dog": "1.0"})), "'1' and '1.0' differ only in their spelling"),
        (text([(*row, split) for row, split in zip(ROWS, ["train", ""] * 3, strict=True)], ("path", "label", "split")),
         "row 3: no split, as in 3 of its rows"),
        (text([(*row, split) for row, split in zip(ROWS, ["train", "test"] * 3, strict=True)], ("path", "label", "part")),
         "the column part holds test, train: name it split"),
        (text([*ROWS, ("img/x.png", "")]), "row 8: no class"),
        (text([*ROWS, ("img/x.png", "nan")]), "row 8: no class, only nan"),
        (text(ROWS[1:], ROWS[0]), "has no heading: its first row already holds img/cat0.png"),
        (text([*ROWS[:-1], (ROWS[-1][0], "cat|dog")]), "'cat|dog' combines classes"),
        (text(relabelled({"cat": "['cat']", "dog": "dog"})), "is a list: an image must have exactly one class"),
        (text([(path, 1, int(label == "dog")) for path, label in ROWS], ("image", "cat", "dog")), "cat and dog are marked"),
        (text([*ROWS, ("img/cat0.png", "a", "b")]), "row 8: 3 cells, but the heading has 2"),
        (text([*ROWS, ("img/cat0.png", '"' + "x" * 200_000)]), "line 8: .* is a quotation mark not closed"),
        (text().encode().replace(b"cat1.png", b"c\0t1.png"), "row 3: a zero byte within a cell"),
        (text([(f"https://x.org/{path}", label) for path, label in ROWS]), "is a web address: download"),
        (text([(*row, number) for number, row in enumerate(ROWS)], ("path", "class", "target")), "which disagree"),
        (text([(*row, "x") for row in ROWS], ("path", "label", "Label")), "two columns named 'Label'"),
        (text(relabelled({"cat": "Katze", "dog": "H\u00fcndin"})).encode("cp1252"), "not UTF-8 but .*Windows-1252.*CSV UTF-8"),
        (text(relabelled({"cat": "고양이", "dog": "강아지"})).encode("euc_kr"), "not UTF-8 but .*EUC-KR"),
        (text(relabelled({"cat": "猫", "dog": "dog"})).encode("gb18030"), r"could be UTF-8 \(è\) or GB18030 \(猫\): save"),
        (b"PK\x03\x04" + bytes(60), r"it is a zip archive \(an Excel workbook is one\): save it as CSV"),
        (b"", "has no rows: it is empty"),
    ],
)  # fmt: skip
def test_else_it_is_said(folder, content, said):
    with pytest.raises(DataError, match=said):
        load(folder, content)


OTHERS = {
    "cp932": "ﾈｺ ｲﾇ ﾜﾆ ｳﾏ ｳｼ ﾄﾘ ﾋﾂｼﾞ ｷｮｳﾘｭｳ ﾈｽﾞﾐ ﾗｲｵﾝ ﾑｼ ｳｵ 猫 犬 鳥 魚",
    "euc_jp": "猫 犬 鳥 魚 馬 牛 羊 豚 鶏 象 熊 猿 鹿 蛇 亀 蟹 蛙 狼 鷹 花 車 船 飛行機 自転車 正常 異常 不良品 ねこ ネコ",
    "euc_kr": "고양이 강아지 개 말 소 새 닭 돼지 쥐 호랑이 뱀 양 곰 여우 사자 토끼 오리 물고기 뭍 띠 샷 밴 정상 불량 양호",
    "big5": "貓 狗 鳥 魚 馬 牛 雞 鴨 鵝 獅子 猴子 烏龜 螃蟹 蜥蜴 鱷魚 鸚鵡 蜻蜓 鯰魚 麒麟 駱駝 鴕鳥 蚱蜢 蟋蟀 蠍子 瑕疵 鬱金香",
    "cp1251": "СЛОН РЫБА УТКА ВОЛК КОРОВА СОБАКА МЕДВЕДЬ ЛИСА ГУСЬ Слон Рыба Утка слон рыба утка волк корова собака ДР АЗ Ст",
    "koi8_r": "СЛОН РЫБА УТКА ВОЛК КОРОВА СОБАКА Слон Рыба Утка слон рыба утка волк корова собака",
    "cp1253": "ΓΑΤΑ ΑΛΟΓΟ ΨΑΡΙ ΠΟΥΛΙ ΛΥΚΟΣ ΑΓΕΛΑΔΑ γάτα ψάρι",
    "cp1255": "חתול כלב דג סוס פרה ציפור עץ",
    "cp1256": "قط كلب سمكة حصان بقرة طائر شجرة",
    "cp874": "แมว หมา ปลา นก หมู ช้าง ม้า วัว ไก่ เป็ด กบ งู เสือ ลิง หนู",
    "cp1252": "Käse Größe Äpfel éléphant âne Ñandú öö ÄÖÜ é è ÄÖ",
}


@pytest.mark.parametrize("encoding", OTHERS)
def test_no_other_language_is_taken_for_chinese(encoding):
    draw = random.Random(0)
    words = OTHERS[encoding].split()
    for _ in range(300):
        labels = draw.sample(words, draw.choice((2, 2, 3, 4, 6)))
        content = text([(f"{number}.png", label) for number, label in enumerate(labels)]).encode(encoding)
        try:
            found, notes = decoded(Path("t.csv"), content)
        except DataError:
            continue
        assert not notes, (labels, found)  # these are read as the UTF-8 that they happen to be


CHINESE_NAMES = (
    "麻雀 鲤鱼 骆驼 犀牛 鹦鹉 杨树 柳树 玉兰 水稻 小麦 高粱 大豆 正常组织 番茄早疫病 划伤 脏污 气泡 男性 女性 雨天"
)


def test_names_in_chinese_are_read_as_excel_saves_them(folder):
    words, draw, certain = CHINESE_NAMES.split(), random.Random(0), 0
    few = [(["猫", "狗"], True), (["合格", "不合格"], True), (["正常", "异常", "划痕"], True), (["苹果", "香蕉"], True)]
    for labels, must in [*few, *((draw.sample(words, 8), False) for _ in range(200))]:
        content = text([(f"{number}.png", label) for number, label in enumerate(labels)]).encode("gbk")
        try:
            found, notes = decoded(Path("t.csv"), content)
        except DataError:
            assert not must
            continue
        assert (found.encode("gbk"), notes) == (content, ["read as GB18030, as Excel saves Chinese text"])
        certain += 1
    assert certain > 150
    rows = [(path, {"cat": "猫", "dog": "狗"}[label]) for path, label in ROWS]
    assert load(folder, text(rows).encode("gb18030")).classes == ("狗", "猫")


def test_rows_that_repeat_and_files_that_are_not_there_are_counted(folder):
    data = load(folder, text([*ROWS, ROWS[0], ("img/none.png", "cat")]))
    assert sum(map(len, data.splits.values())) == 6
    assert data.ledger.lines() == [
        "8 rows: 6 used, 1 unreadable, 1 of another kind",
        "unreadable: img/none.png: no such file",
        "of another kind, a row that repeats another: img/cat0.png",
    ]


def test_arrays_that_are_not_known_are_named(tmp_path):
    images, labels = np.zeros((8, 4, 4), np.uint8), np.arange(8) % 2
    images[:] = np.arange(8)[:, None, None]
    np.savez(
        tmp_path / "a.npz", x_train=images, y_train=np.eye(2)[labels], x_testing=images, y_testing=labels, extra=labels
    )
    data = load_data(tmp_path / "a.npz")
    assert data.train.labels.tolist() == labels.tolist()
    assert list(data.splits) == ["train", "test"]
    assert data.ledger.lines()[0] == "5 arrays: 4 used, 1 of another kind"
    assert "extra int64 (8,)" in data.ledger.lines()[1]
    np.savez(tmp_path / "b.npz", images=images, x=images, labels=labels)
    with pytest.raises(DataError, match="images and x could both be the images: keep one"):
        load_data(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"classes": ["cat", "cat"]}, "classes of .* hold 'cat' twice"),
        ({"classes": ["cat", "Cat"]}, "'cat' and 'Cat' differ only in capitals"),
        (
            {"classes": ["a", "b"], "class_names": ["cat", "dog"]},
            "classes and class_names in .* could both be the class names",
        ),
        (
            {"test_images": np.zeros((4, 8, 8, 3), np.uint8), "test_labels": [0, 1, 0, 1]},
            "1 in train, 3 in test. Store all",
        ),
    ],
)
def test_archives_that_could_be_misread_are_asked_back(tmp_path, more, said):
    given = {"train_images": np.zeros((4, 8, 8), np.uint8), "train_labels": [0, 1, 0, 1], **more}
    np.savez(tmp_path / "a.npz", **given)
    with pytest.raises(DataError, match=said):
        load_data(tmp_path / "a.npz")


def test_an_archive_may_call_its_classes_otherwise(tmp_path):
    pixels = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8)
    np.savez(tmp_path / "a.npz", images=pixels, labels=[0, 1, 0, 1], class_names=["cat", "dog"])
    data = load_data(tmp_path / "a.npz")
    assert (data.classes, data.numbered, data.ledger.count("used")) == (("cat", "dog"), False, 3)
