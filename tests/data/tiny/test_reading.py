from data.ddqa.regions import REGIONS
from data.tiny.reading import DescriptionReading, reading_corpus


def test_the_answer_is_in_the_text() -> None:
    exercises = DescriptionReading(0)
    items = [exercises.get(0, index) for index in range(200)]
    for item in items:
        if item.place < len(REGIONS):
            assert item.prompt.endswith(f"at the {REGIONS[item.place]}.")
            assert REGIONS[item.place] in item.answer
            kind = item.answer.replace(REGIONS[item.place], "", 1).strip()
            assert f" {kind} at " in item.prompt
        else:
            assert item.answer in (" none", " any")
    assert {item.place for item in items} == set(range(10))
    assert items[7] == DescriptionReading(0).get(0, 7) != DescriptionReading(1).get(0, 7)


def test_the_corpus_covers_every_word_of_the_exercises() -> None:
    words = {word for text in reading_corpus() for word in text.split()}
    exercises = DescriptionReading(0)
    assert all(set(exercises.get(0, k).prompt.split()) <= words for k in range(100))
