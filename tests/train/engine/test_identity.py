from train.engine.identity import Identity, describe_data_change, describe_settings_change, flatten


def test_what_changed_is_said_in_words() -> None:
    old = Identity(flatten({"loop": {"steps": 6, "lr": 0.1}}), {"a": "scratch, 1 bytes", "b": "normal, 2 bytes"})
    new = Identity(flatten({"loop": {"steps": 8, "lr": 0.1}}), {"b": "normal, 3 bytes", "c": "normal, 2 bytes"})
    assert describe_settings_change(old, new) == "loop.steps is 8 instead of 6"
    words = describe_data_change(old, new)
    assert "1 images are gone (a)" in words and "1 images are new (c)" in words and "1 images are changed (b)" in words
    turned = Identity({}, dict(reversed(old.data.items())))
    assert "order" in describe_data_change(old, turned)
    assert Identity.from_json(old.as_json()) == old
    assert old.fingerprint != new.fingerprint
