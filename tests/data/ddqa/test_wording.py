from data.ddqa.wording import PAPER_TASKS, QUESTIONS, Task, Wording, wordings


def test_the_paper_has_one_sentence_per_task() -> None:
    assert [task.value for task in PAPER_TASKS] == ["AD", "RDL", "DFM", "DC"]
    for task in Task:
        assert wordings(task, Wording.paper) == (QUESTIONS[task],)


def test_paraphrases_are_several_and_distinct() -> None:
    everything = [sentence for task in Task for sentence in wordings(task, Wording.paraphrased)]
    assert len(everything) == len(set(everything))
    assert all(len(wordings(task, Wording.paraphrased)) >= 4 for task in Task)
    assert all(sentence[-1] in ".?" for sentence in everything)
