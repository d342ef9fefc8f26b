"""The sentences of the report: what the figures say, what they do not say, and what is missing."""

from __future__ import annotations

from typing import Any

from eval.gains.gain import UNCLEAR, format_interval


def headline(facts: dict[str, Any]) -> str:
    """One sentence a reader can repeat."""
    table = facts["segmentation"]
    if table is None:
        return "This run has no segmentation results yet; the report shows what there is."
    which = "with" if "with_eddm" in facts["evaluations"] else "without"
    auroc, f1 = table["mean"]["pixel_auroc"][which], table["mean"]["pixel_f1_max"][which]
    count, images = len(table["categories"]), table["images"]["total"]
    text = f"On {_plural(images, 'image')} of {_plural(count, 'product category', 'product categories')}"
    seen = facts["evaluations"][f"{which}_eddm"]["zero_shot"]
    text += " that the model never saw in training," if seen == "verified" else ","
    if auroc is None or f1 is None:
        return f"{text} the pixel metrics have no value: see the reasons below."
    text += f" defect pixels are found with {auroc:.1f} % pixel AUROC and {f1:.1f} % F1-max"
    gain = table["mean"]["pixel_f1_max"]
    if gain["delta"] is None:
        return text + "."
    interval = f" ({format_interval(gain)}, {_level(facts)})" if gain["verdict"] else ""
    if gain["verdict"] == UNCLEAR:
        return f"{text}; in F1-max that is not distinguishable from what it is without EDDM's descriptions{interval}."
    sign = "more" if gain["delta"] >= 0 else "less"
    return f"{text}: {abs(gain['delta']):.1f} points of F1-max {sign} than without the descriptions of EDDM{interval}."


def _level(facts: dict[str, Any]) -> str:
    return f"{100 * facts['report_config']['bootstrap']['level']:g} % interval over images"


def limits(facts: dict[str, Any]) -> list[str]:
    """What the figures do not show, and rules that shaped them."""
    notes = [
        "F1-max uses the best threshold of each category, which a production line does not know in advance. The "
        "figures under “At a fixed threshold” use one threshold for all products instead.",
        "The products and defects are those listed under “Data”. Other products, cameras or lighting need their own "
        "evaluation before anybody relies on these figures.",
        "An anomaly map says where the model sees a defect, not how serious it is. Whether a part is scrapped is "
        "not decided here.",
    ]
    cut = facts["report_config"]["contour"]["threshold"]
    notes.append(
        f"Outlines and the figures at a fixed threshold stand at {cut:g} of the map, which promises no rate of false "
        "alarms. "
        + (
            f"For verdicts the run is calibrated. {facts['calibration']}"
            if facts["calibration"]
            else "scripts.calibrate takes one at a stated rate from sound photos of the product itself."
        )
    )
    if facts["gains"]:
        notes.append(
            "The interval of a difference says how far it hangs on which images were taken, not what another training "
            "or other products would give."
        )
    point = facts["operating_point"]
    if point and point["normal"] < 100:
        notes.append(
            f"Only {_plural(point['normal'], 'sound image')} took part: each false alarm moves the rate of false "
            f"alarms by {100 / point['normal']:.1f} points."
            if point["normal"]
            else "No sound image took part, so nothing is known about false alarms."
        )
    decoys = facts["evaluations"]
    if not {"oracle_decoys", "shuffled_decoys"} <= decoys.keys():
        notes.append("The decoy check was not run, so nothing here proves that the model reads its text.")
    if "tiny" in {config.get("preset") for config in facts["configs"].values()}:
        notes.append(
            "The preset is “tiny”: models of a few million parameters with the real architectures, trained for "
            "minutes. It shows that the method works end to end, not how well the full models perform."
        )
    return notes


def find_missing(facts: dict[str, Any]) -> list[str]:
    """Parts of a complete run that are not there, skipped images and undefined metrics, each with its reason."""
    found = []
    commands = {
        "with_eddm": "segmentation with EDDM (python -m scripts.eval_segmentation run=…)",
        "without_eddm": "segmentation without EDDM (python -m scripts.eval_segmentation run=… description=fixed)",
    }
    found += [f"Not run: {text}." for name, text in commands.items() if name not in facts["evaluations"]]
    if facts["eddm"] is None:
        found.append("Not run: EDDM's exam on the zero-shot categories.")
    if facts["ddqa"] is None:
        found.append("Not there: the counts of DDQA (RUN/ddqa/counts.json).")
    if not facts["stages"]:
        found.append("Not recorded: the time of each stage (RUN/stages.json).")
    charts = " ".join(facts["curves"])
    found += [f"No training log: {module}." for module in ("EDDM", "MDLM") if module not in charts]
    found += [f"{name} data: {values['missing']}" for name, values in facts["data"].items() if "missing" in values]
    if facts["gallery"]["missing"]:
        found.append(f"No gallery: {facts['gallery']['missing']}")
    if facts["gallery"]["descriptions"]:
        found.append(f"Not shown in the gallery: {facts['gallery']['descriptions']}")
    if facts["calibration_problem"]:
        found.append(f"Not used: the run's calibration. {facts['calibration_problem']}")
    found += [
        f"No intervals for {g['left']} minus {g['right']}: {g['missing']}."
        for g in facts["gains"].values()
        if g["missing"]
    ]
    for name, summary in facts["evaluations"].items():
        if summary["zero_shot"] != "verified":
            found.append(f"{name}: check of the zero-shot split: {summary['zero_shot']}.")
        if summary["skipped"]:
            reasons = sorted({entry["reason"] for entry in summary["skipped"]})
            found.append(f"{name}: {_plural(len(summary['skipped']), 'image')} left out ({'; '.join(reasons)}).")
        found += [f"{name}: {text}" for text in _undefined(summary)]
    return found


def _undefined(summary: dict[str, Any]) -> list[str]:
    """Categories without values, those with the same reason together.

    A subset of defective images alone (decoys) has no image metrics by design: that is not worth a line.
    """
    by_design = "image" if summary["config"].get("subset") and not summary["images"]["normal"] else None
    together: dict[tuple[str, str], list[str]] = {}
    for category, reasons in summary["undefined"].items():
        for kind, reason in reasons.items():
            if kind != by_design:
                together.setdefault((kind, reason), []).append(category)
    return [
        f"no {kind} metrics for {'any category' if len(names) == len(summary['categories']) else ', '.join(names)} "
        f"({reason})."
        for (kind, reason), names in together.items()
    ]


def _plural(count: int, noun: str, plural: str = "") -> str:
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
