"""What DDQA asks, in words: the paper's sentence of each task, and sentences that mean the same."""

from __future__ import annotations

from enum import StrEnum

from data.ddqa.compose import FREE_PROMPT


class Task(StrEnum):
    """Anomaly discrimination, rough defect localization, defect fine mapping, defect classification; description.

    The first four are the paper's (EIAD, Sec. III-A). `description` is an addition: the structured sentences that
    EDDM's descriptions consist of, composed from the annotation.
    """

    AD = "AD"
    RDL = "RDL"
    DFM = "DFM"
    DC = "DC"
    description = "description"


PAPER_TASKS = (Task.AD, Task.RDL, Task.DFM, Task.DC)


class Wording(StrEnum):
    """How the questions are worded: always as in the paper, or drawn from it and its paraphrases."""

    paper = "paper"
    paraphrased = "paraphrased"


QUESTIONS = {
    Task.AD: "Is there any visible defect in this image?",
    Task.RDL: "There is a defect of the object present in the image. Where is the defect located?",
    Task.DC: "There is a defect in the object. What is the type of the defect?",
    Task.DFM: "There are defects in the picture. Find it and mark its location with Bounding Box.",
    Task.description: FREE_PROMPT,
}
PARAPHRASES = {
    Task.AD: (
        "Does the object in this image show any defect?",
        "Can you see anything wrong with the product in this picture?",
        "Look at the object closely. Is it defective?",
        "Would this part fail a visual inspection because of a defect?",
    ),
    Task.RDL: (
        "The object in the image has a defect. In which part of the image is it?",
        "Where in the picture is the defect of this object?",
        "Divide the image into a grid of three by three equal cells. Which cell holds the defect?",
        "One place of this product is defective. Which of these describes where it is?",
    ),
    Task.DC: (
        "The object in the image is defective. Which kind of defect is it?",
        "What type of defect does this product have?",
        "Which of these names the defect in the picture?",
        "An inspector rejected this part. Which defect did the inspector find?",
    ),
    Task.DFM: (
        "The object in the image is defective. Give the bounding box of the defect.",
        "Locate the defect in the picture with a bounding box.",
        "Draw a bounding box around the defect of this product.",
        "Which bounding box encloses the defect exactly?",
    ),
    Task.description: (
        "What does this image show, and is anything wrong with the product?",
        "Describe the product in the picture and any defect that you can see.",
        "Write a short inspection note about this product.",
    ),
}


def wordings(task: Task, wording: Wording) -> tuple[str, ...]:
    """The sentences that a question of a task is drawn from; the paper's one first."""
    return (QUESTIONS[task], *PARAPHRASES[task]) if wording is Wording.paraphrased else (QUESTIONS[task],)
