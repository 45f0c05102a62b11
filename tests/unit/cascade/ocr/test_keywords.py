"""Keywords: wordings that signs have, what readers make of them, and what must not count."""

from __future__ import annotations

import pytest

from cascade.ocr.keywords import find_keywords, fold, keywords

LEAST = 0.84


def found(text: str) -> list[str]:
    return [hit.keyword.name for hit in find_keywords(text.split("|"), LEAST)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # one wording a language, lines of a sign divided by |
        ("ROAD WORK|AHEAD", ["road work", "ahead"]),
        ("DETOUR|ROAD CLOSED", ["detour", "road closed"]),
        ("UTILITY|WORK|AHEAD", ["utility work", "ahead"]),
        ("TURN LANE|GLOSED|AHEAD", ["lane closed", "ahead"]),
        ("BAUSTELLE|Umleitung", ["baustelle", "umleitung"]),
        ("Straße gesperrt|Bauarbeiten", ["strasse gesperrt", "bauarbeiten"]),
        ("Déviation|TRAVAUX", ["deviation", "travaux"]),
        ("OBRAS|CALLE CORTADA", ["obras", "calle cerrada"]),
        ("Atenção|homens na pista", ["atencao", "homens trabalhando"]),
        ("LAVORI IN CORSO|Deviazione", ["lavori", "deviazione"]),
        ("Werk in uitvoering|Omleiding", ["werk in uitvoering", "omleiding"]),
        ("UWAGA|Roboty drogowe", ["uwaga", "roboty drogowe"]),
        ("Objížďka|uzavírka", ["objizdka", "uzavirka"]),
        ("VÄGARBETE|Vägen avstängd", ["vagarbete", "vagen avstangd"]),
        ("Vejarbejde|Omkørsel", ["vejarbejde", "omkorsel"]),
        ("Tietyömaa|kiertotie", ["tietyo", "kiertotie"]),
        ("Drum în lucru|Atenție", ["drum in lucru", "atentie"]),
        ("DİKKAT|YOL ÇALIŞMASI", ["dikkat", "yol calismasi"]),
        ("Дорожные работы|Объезд", ["дорожные работы", "объезд"]),
        ("Увага|Дорожні роботи", ["увага", "дорожні роботи"]),
        ("ΕΚΤΕΛΟΥΝΤΑΙ ΕΡΓΑ|Παράκαμψη", ["εκτελουνται εργα", "παρακαμψη"]),
        ("前方施工|车辆绕行", ["施工", "绕行"]),
        ("道路工事中|ご協力ください 徐行", ["工事", "徐行"]),
        ("공사중|우회", ["공사중", "우회"]),
        # as readers give them: joined words, a wrong letter, no accents
        ("ROADW0RK AHEAD", ["road work", "ahead"]),
        ("BAUSTE11E|UMLEITUNG", ["umleitung"]),
        ("BAUSTELIE|UMLEITUN6", ["baustelle", "umleitung"]),
        ("Deviat1on|travaux", ["deviation", "travaux"]),
        # the same keyword twice is one
        ("OBRAS|OBRAS", ["obras"]),
        ("ROAD WORK|ROADWORKS", ["road work"]),
    ],
)
def test_wordings_are_found(text: str, expected: list[str]) -> None:
    names = found(text)
    assert all(name in names for name in expected)
    assert len(names) <= len(expected) + 1


@pytest.mark.parametrize(
    "text",
    [
        # words of streets that have nothing to do with works
        "NO PARKING|ANY TIME", "STOP|ALL WAY", "ONE WAY", "SCHOOL ZONE|SLOW|AHEAD", "SPEED LIMIT 25",
        "IRON WORKS|CAFE", "Baumarkt|Achtung", "Parkplatz|Ausfahrt freihalten", "Attention|école", "Sortie|Paris",
        "PROHIBIDO ESTACIONAR|precaución", "Roadhouse Grill", "Kunstwerk|Abteilung Umwelt", "Road trip|network",
        "注意安全|学校", "Uwaga|zły pies", "Pozor|pes", "Main St|Working Mens Club", "", "???",
    ],
)  # fmt: skip
def test_other_signs_are_not(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text", ["ABC Construction Inc|Plumbing", "Detour Coffee Roasters", "Chantier naval", "Lavori di Pizza|aperto"]
)
def test_a_shop_with_one_such_word_is_not_enough(text: str) -> None:
    assert len(found(text)) == 1


def test_support_alone_is_nothing() -> None:
    assert found("SLOW|AHEAD|KEEP LEFT") == []
    assert len(found("SLOW|AHEAD|DETOUR")) == 3


def test_the_file_speaks_many_languages() -> None:
    assert len({keyword.language for keyword in keywords()}) >= 20
    # every variant can be found by itself, so that none is lost to folding
    for keyword in keywords():
        for variant in keyword.variants:
            assert variant
            assert all(fold(word) == [word] for word in variant)
