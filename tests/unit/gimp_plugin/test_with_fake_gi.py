"""What the plug-in decides before, after and around GIMP's own work, with a stand-in for ``gi``."""

from __future__ import annotations

import base64
import json
import math
import os
import queue
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskupe_client.client import Client, Progress
from maskupe_client.errors import AnswerError, ClientError, ConnectionLostError
from maskupe_client.zmtp import feed
from maskupe_daemon.presence import await_end
from tests.daemon.running import ROOT, new_home, region, request_for
from tests.unit.gimp_plugin import fake_gi

WIDTH, HEIGHT = 60, 40


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        yield fake_gi.install(patch)
        fake_gi.forget()


@pytest.fixture
def gimp(stand_in: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """GIMP's library; the plug-in's modules are to be imported inside of the tests."""
    monkeypatch.setenv("MASKUPE_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("SNAP", raising=False)
    monkeypatch.setattr(stand_in.Image, "there", [])
    monkeypatch.setattr(stand_in, "contexts", 0)
    return stand_in


@pytest.fixture
def image(gimp: Any) -> fake_gi.Image:
    """An image with one layer of random pixels."""
    image = gimp.Image(WIDTH, HEIGHT, gimp.Precision.U8_NON_LINEAR)
    layer = gimp.Layer(image, WIDTH, HEIGHT)
    layer.buffer.pixels[:] = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3))
    image.insert_layer(layer, None, 0)
    return image


def select(image: fake_gi.Image, x: int, y: int, width: int, height: int) -> None:
    image.selection.buffer.pixels[y : y + height, x : x + width] = 200


class Lamp:
    """Answers in the daemon's place: with white, or with an error after half of the result."""

    def __init__(self, error: ClientError | None = None) -> None:
        self.error = error

    def enhance(self, request: Any, planes: Any, progress: Any, *, takers: Any) -> Any:
        progress(Progress("running", 0.5, 0))
        white = {
            name: memoryview(b"\xff" * math.prod(request.image.shape)) for name in request.outputs
        }
        for name, taker in takers.items():
            if self.error is not None:
                taker.take(white[name][: taker.begin()[0]])
            else:
                feed(taker, white.pop(name))
        if self.error is not None:
            raise self.error
        return {"seconds": 0.1, "width": 4.0, "notes": ()}, white


# What the plan says.


@pytest.mark.parametrize("kind", ["text layer", "locked", "locked by its group"])
def test_what_must_not_change_gives_new_layers_only(
    gimp: Any, image: fake_gi.Image, kind: str
) -> None:
    from maskupe_plugin.checks import UserError
    from maskupe_plugin.job import plan
    from maskupe_plugin.outputs import ABOVE
    from maskupe_plugin.settings import Settings

    layer = image.layers[0]
    if kind == "text layer":
        layer.text = True
    elif kind == "locked":
        layer.locked = True
    else:
        layer.parent = gimp.GroupLayer.new(image, "things")
        layer.parent.locked = True
    with pytest.raises(UserError) as refusal:
        plan(image, [layer], Settings())
    told = ("“photo”", "text layer") if kind == "text layer" else ("locked", "Unlock")
    assert all(part in str(refusal.value) for part in (*told, "set the output to a new layer"))
    for output in ABOVE:
        assert plan(image, [layer], Settings(output=output)).settings.output == output


@pytest.mark.parametrize("kind", ["Channel", "LayerMask"])
def test_masks_and_channels_take_the_result_themselves_or_not_at_all(
    gimp: Any, image: fake_gi.Image, kind: str
) -> None:
    from maskupe_plugin.checks import UserError, possible_outputs
    from maskupe_plugin.job import plan
    from maskupe_plugin.settings import Settings

    mask = getattr(gimp, kind)(image, WIDTH, HEIGHT)
    assert plan(image, [mask], Settings()).encoding.colour == "Y"
    with pytest.raises(UserError, match=r"no new layer can be made.*“This layer”"):
        plan(image, [mask], Settings(output="new-layer"))
    mask.locked = True
    outputs, forbidden = possible_outputs(mask)
    assert outputs == ()
    assert "locked" in str(forbidden)


def test_the_region_is_the_layer_or_what_is_selected_of_it_and_a_margin(
    gimp: Any, image: fake_gi.Image
) -> None:
    from maskupe_plugin.checks import UserError
    from maskupe_plugin.job import plan
    from maskupe_plugin.settings import Settings

    layer = image.layers[0]
    hard = Settings(width=5.0, edges="off")
    whole = plan(image, [layer], hard)
    assert not whole.selected
    assert whole.box == (0, 0, WIDTH, HEIGHT)
    layer.offsets = (10, -3)
    select(image, 12, 20, 8, 6)  # columns 2 to 9 and rows 23 to 28 of the layer
    part = plan(image, [layer], hard)
    assert part.bounds == (2, 23, 8, 6)
    assert part.box == (0, 17, 16, 18)  # by 5 + 1 pixels, not beyond the layer
    layer.offsets = (30, 0)
    with pytest.raises(UserError, match="does not touch the layer “photo”"):
        plan(image, [layer], hard)


# Settings and the procedure's arguments.


def test_arguments_and_settings_say_the_same(gimp: Any) -> None:
    from maskupe_plugin.settings import Settings, add_arguments, put_settings, settings_of

    procedure = gimp.Procedure()
    add_arguments(procedure)
    config = procedure.create_config()
    assert settings_of(config) == Settings()
    numbers = Settings(0.3, 0.7, -0.4, 0.9, 12.5, "inside", 31.0, "small", "illumination-layer")
    put_settings(config, numbers)
    assert settings_of(config) == numbers
    put_settings(config, Settings(edges="off"))
    assert settings_of(config) == Settings(edges="off")
    # The dialog offers them again when somebody switches the automatic ones off.
    assert [config.get_property(name) for name in ("denoise", "width")] == [0.7, 12.5]


def test_an_output_that_is_impossible_here_comes_back_for_the_next_layer(
    gimp: Any, image: fake_gi.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskupe_plugin import run
    from maskupe_plugin.settings import add_arguments

    procedure = gimp.Procedure()
    add_arguments(procedure)
    config = procedure.create_config()
    config.set_property("output", "illumination-layer")
    shown: list[str] = []

    def ask(*_arguments: object) -> bool:
        shown.append(config.get_property("output"))
        return True

    monkeypatch.setattr(run, "_ask_and_run", ask)
    mask = gimp.LayerMask(image, WIDTH, HEIGHT)
    assert run.run_interactive(procedure, image, [mask], config)
    assert shown == ["this-layer"]
    assert config.get_property("output") == "illumination-layer"


# Layers that remember what they were made with.


def remember(image: fake_gi.Image) -> fake_gi.Layer:
    """A layer made from a selected part of the image's own; nothing is selected any more."""
    from maskupe_plugin.job import plan
    from maskupe_plugin.re_edit import notes_on
    from maskupe_plugin.settings import Settings

    select(image, 5, 6, 20, 10)
    source = image.layers[0]
    made = fake_gi.Layer(image, WIDTH, HEIGHT, "made")
    image.insert_layer(made, None, 0)
    job = plan(image, [source], Settings(strength=0.4, output="new-layer"))
    for item, note in zip((made, source), notes_on(job), strict=True):
        item.attach_parasite(note)
    fake_gi.Selection.none(image)
    return made


@pytest.mark.parametrize("precision", ["U8_NON_LINEAR", "DOUBLE_LINEAR"])
def test_a_cancelled_dialog_leaves_nothing_selected(
    gimp: Any, image: fake_gi.Image, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Also where the image was of another precision when the layer was made."""
    from maskupe_plugin import run
    from maskupe_plugin.settings import add_arguments

    made = remember(image)
    image.precision = gimp.Precision[precision]
    procedure = gimp.Procedure()
    add_arguments(procedure)
    seen: list[Any] = []

    def ask(_procedure: Any, _image: Any, drawables: list[Any], config: Any, found: Any) -> bool:
        seen.append((drawables, config.get_property("strength"), found.layer))
        seen.append(image.selection.buffer.pixels.copy())
        return False

    monkeypatch.setattr(run, "_ask_and_run", ask)
    assert not run.run_interactive(procedure, image, [made], procedure.create_config())
    assert seen[0] == ([image.layers[0]], 0.4, made)
    expected = np.zeros_like(seen[1])
    expected[6:16, 5:25] = 200
    assert np.array_equal(seen[1], expected)
    assert not image.selection.buffer.pixels.any()


DAMAGES: dict[str, Any] = {
    "cut off": lambda data: data[:-9],
    "no text": lambda data: b"\xff\xfe" + data,
    "endless": lambda data: b"[" * 200_000,
    "another thing": lambda data: b"[1, 2]",
    "no settings": {"settings": {"brightness": 1}},
    "a word for a number": {"settings": {"strength": "much"}},
    "a list for a word": {"settings": {"side": ["inside"]}},
    "not a number": {"settings": {"width": math.nan}},
    "a number without end": {"settings": {"strength": 10**400}},
    "edges out of range": {"settings": {"edges": 1e9}},
    "another size": {"size": [WIDTH, HEIGHT + 1]},
    "gone": {"source": 99},
    "no tattoo": {"source": "photo"},
    "a selection beyond the layer": {"selection": {"box": [50, 6, 20, 10]}},
    "less of a selection": {
        "selection": {"data": base64.b64encode(zlib.compress(bytes(199))).decode()}
    },
    "another compression": {"selection": {"data": base64.b64encode(b"x" * 50).decode()}},
    "unknown numbers": {"selection": {"dtype": "f16"}},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_note_makes_it_a_layer_like_any_other(
    gimp: Any, image: fake_gi.Image, damage: str
) -> None:
    from maskupe_plugin.re_edit import PARASITE, find_made

    made = remember(image)
    assert find_made(image, [made]) is not None
    data = made.parasites[PARASITE].data
    change = DAMAGES[damage]
    if callable(change):
        data = change(data)
    else:
        about = json.loads(data)
        for name, value in change.items():
            known = about[name]
            about[name] = {**known, **value} if isinstance(value, dict) else value
        data = json.dumps(about).encode()
    made.parasites[PARASITE].data = data
    assert find_made(image, [made]) is None


def test_a_copy_in_another_image_is_a_layer_like_any_other(gimp: Any, image: fake_gi.Image) -> None:
    """Numbers of layers begin anew in every image, and photographs are often of one size."""
    from maskupe_plugin.re_edit import PARASITE, find_made

    made = remember(image)
    twin = gimp.Image(WIDTH, HEIGHT, gimp.Precision.U8_NON_LINEAR)
    source, copy = (gimp.Layer(twin, WIDTH, HEIGHT, name) for name in ("photo", "made"))
    for layer in (source, copy):
        twin.insert_layer(layer, None, 0)
    assert source.get_tattoo() == image.layers[0].get_tattoo()
    copy.attach_parasite(made.parasites[PARASITE])
    assert find_made(twin, [copy]) is None
    remember(twin)  # the photo there is itself one that others were made from
    assert find_made(twin, [copy]) is None
    # A layer that was made before there were marks.
    about = json.loads(made.parasites[PARASITE].data)
    del about["mark"]
    made.parasites[PARASITE].data = json.dumps(about).encode()
    assert find_made(image, [made]) is not None


def test_layers_made_from_one_layer_know_it_by_one_mark(gimp: Any, image: fake_gi.Image) -> None:
    from maskupe_plugin.re_edit import find_made

    first, second = remember(image), remember(image)
    for made in (first, second):
        found = find_made(image, [made])
        assert found is not None
        assert found.source is image.layers[0]


# The daemon, and errors on the way.


@pytest.mark.parametrize("output", ["this-layer", "new-layer", "illumination-layer"])
@pytest.mark.parametrize(
    "error",
    [ConnectionLostError(), AnswerError("out-of-memory", "Not enough memory.", "Select less.")],
    ids=["gone", "refuses"],
)
def test_without_an_answer_the_image_is_as_it_was(
    gimp: Any, image: fake_gi.Image, error: ClientError, output: str
) -> None:
    from maskupe_plugin.checks import UserError
    from maskupe_plugin.job import plan
    from maskupe_plugin.run import run_job
    from maskupe_plugin.settings import Settings

    (layer,) = image.layers
    before = layer.buffer.pixels.copy()
    job = plan(image, [layer], Settings(output=output))
    with pytest.raises(UserError) as refusal:
        run_job(Lamp(error), job)
    assert str(refusal.value) == str(error)
    assert image.layers == [layer]
    assert np.array_equal(layer.buffer.pixels, before)
    assert image.undo_groups == 0  # an empty step would be in the history
    if output == "this-layer":
        run_job(Lamp(), job)
        assert (layer.buffer.pixels == 255).all()
        assert image.undo_groups > image.open_groups == 0


@pytest.mark.parametrize("ahead", [1, 2])
def test_whoever_waits_is_told_how_many_jobs_are_ahead(
    gimp: Any, image: fake_gi.Image, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    from maskupe_plugin.job import plan
    from maskupe_plugin.run import run_job
    from maskupe_plugin.settings import Settings

    class Queue(Lamp):
        def enhance(self, request: Any, planes: Any, progress: Any, *, takers: Any) -> Any:
            progress(Progress("queued", 0.0, ahead))
            return super().enhance(request, planes, progress, takers=takers)

    told: list[str] = []
    monkeypatch.setattr(gimp, "progress_set_text", told.append)
    run_job(Queue(), plan(image, [image.layers[0]], Settings()))
    assert told == [f"Jobs ahead in the queue: {ahead}"]


def test_where_no_daemon_is_the_command_that_starts_it_is_told(gimp: Any, tmp_path: Path) -> None:
    from maskupe_plugin.checks import UserError
    from maskupe_plugin.service import connect

    with pytest.raises(UserError) as refusal:
        connect(start=False)
    assert "daemon is not running" in refusal.value.message
    assert str(refusal.value).endswith(
        f" Start it in a terminal with: maskupe-daemon — its log is in {tmp_path}."
    )


@pytest.mark.parametrize(
    ("variables", "installed", "inside"),
    [
        ({}, "/usr", False),
        ({"SNAP": "/snap/gimp/527", "SNAP_NAME": "gimp"}, "/snap/gimp/527/usr", True),
        # A layout mounts its folders where a distribution would have them.
        ({"SNAP": "/snap/gimp/527", "SNAP_NAME": "gimp"}, "/usr", True),
        ({"SNAP": "/snap/gimp-plus/3", "SNAP_NAME": "gimp-plus"}, "/snap/gimp-plus/3/usr", True),
        # The distribution's GIMP, started from the terminal of an editor that is a Snap.
        ({"SNAP": "/snap/code/174", "SNAP_NAME": "code"}, "/usr", False),
        ({"SNAP": "/snap/code/174"}, "/snap/code/1745/usr", False),
        ({"SNAP": "", "SNAP_NAME": ""}, "/usr", False),
    ],
)
def test_the_variables_of_another_snap_make_no_sandbox(
    gimp: Any,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    installed: str,
    inside: bool,
) -> None:
    from maskupe_plugin.service import in_sandbox

    monkeypatch.delenv("SNAP_NAME", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(gimp, "installation_directory", lambda: installed)
    assert in_sandbox() == inside


def test_a_preview_starts_a_daemon_that_has_ended_since_the_last(
    gimp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskupe_plugin import preview_worker, service

    command = [sys.executable, str(ROOT / "tests" / "daemon" / "start_stand_in.py"), "run"]
    monkeypatch.setattr(service, "daemon_command", lambda: command)
    picture, selection = region(np.random.default_rng(0), (40, 60, 4), "u16")
    request, planes = request_for(picture, selection)
    shown: queue.Queue[Any] = queue.Queue()
    errors: list[str] = []
    with new_home() as home:
        monkeypatch.setenv("MASKUPE_STATE_DIR", str(home))
        worker = preview_worker.PreviewWorker(
            shown.put, lambda text, failed: errors.append(text) if failed else None
        )
        worker.start()
        worker.ask(preview_worker.FITTED, request, planes)
        first = shown.get(timeout=60)
        with Client.connect() as client:
            client.shutdown()
        assert await_end(home, 20)
        worker.ask(preview_worker.FITTED, request, planes)
        second = shown.get(timeout=60)
        with Client.connect() as client:
            client.shutdown()
        worker.close()
        assert await_end(home, 20)
    assert errors == []
    assert second.planes == first.planes


def test_actual_pixels_that_did_not_come_are_asked_for_again(
    gimp: Any, image: fake_gi.Image
) -> None:
    from maskupe_plugin.actual_pixels import ActualPixels
    from maskupe_plugin.job import plan
    from maskupe_plugin.region import Box
    from maskupe_plugin.settings import Settings

    asked: list[Any] = []
    actual = ActualPixels(lambda request, _planes, _about: asked.append(request))
    job, view = plan(image, [image.layers[0]], Settings()), Box(0, 0, 20, 10)
    for _ in range(2):
        actual.want(job, view, False, None)
    assert len(asked) == 1  # the answer is on its way
    actual.failed()
    actual.want(job, view, False, None)
    assert len(asked) == 2


def test_a_fault_about_a_file_that_is_not_in_utf_8_is_logged(gimp: Any, tmp_path: Path) -> None:
    from maskupe_plugin import log

    try:
        raise FileNotFoundError(os.fsdecode(b"/srv/j\xf6rg"))
    except FileNotFoundError:
        log.failure("A run failed.")
    assert r"FileNotFoundError: /srv/j\udcf6rg" in log.log_file().read_text("utf-8")


@pytest.mark.parametrize("selected", [False, True])
def test_an_error_in_writing_ends_the_undo_step_and_restores_the_selection(
    gimp: Any, image: fake_gi.Image, monkeypatch: pytest.MonkeyPatch, selected: bool
) -> None:
    from maskupe_plugin import write_back
    from maskupe_plugin.job import plan
    from maskupe_plugin.region import Box
    from maskupe_plugin.settings import Settings

    if selected:
        select(image, 5, 6, 20, 10)
    before = image.selection.buffer.pixels.copy()
    (layer,) = image.layers
    job = plan(image, [layer], Settings(width=0.0, edges="off"))
    merged: list[np.ndarray] = []

    def fail(*_arguments: object) -> bool:
        merged.append(image.selection.buffer.pixels.copy())
        raise RuntimeError("no tile")

    monkeypatch.setattr(gimp.Layer, "merge_shadow", fail)
    with pytest.raises(RuntimeError):
        write_back.merge(job)
    region = Box(*job.box)
    inside = merged[0][region.y : region.bottom, region.x : region.right]
    assert (inside == 255).all() if selected else not merged[0].any()
    assert (merged[0] == 255).sum() == (inside == 255).sum()
    assert np.array_equal(image.selection.buffer.pixels, before)
    assert (image.undo_groups, image.open_groups, gimp.contexts) == (1, 0, 0)


def test_an_error_in_an_illumination_layer_deletes_the_hidden_image(
    gimp: Any, image: fake_gi.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskupe_plugin.apply_result import apply_result
    from maskupe_plugin.job import Answer, plan
    from maskupe_plugin.settings import Settings

    there: list[int] = []

    def fail(*_arguments: object) -> None:
        there.append(len(image.there))
        raise RuntimeError("no memory")

    monkeypatch.setattr(gimp.Image, "merge_visible_layers", fail)
    job = plan(image, image.layers[:], Settings(output="illumination-layer"))
    light = memoryview(np.ones((HEIGHT, WIDTH, 3), np.float32).tobytes())
    planes = {"illumination": light, "image": memoryview(bytes(HEIGHT * WIDTH * 3))}
    with pytest.raises(RuntimeError):
        apply_result(job, Answer(planes, 0.1, 0.0, ()), lambda _part: None)
    assert there == [2]
    assert image.there == [image]
    assert image.open_groups == 0


@pytest.mark.parametrize("expected", [True, False], ids=["refusal", "fault"])
def test_what_is_raised_becomes_a_sentence_and_only_a_fault_is_logged(
    gimp: Any, image: fake_gi.Image, tmp_path: Path, expected: bool
) -> None:
    from maskupe_plugin.plug_in import _run
    from maskupe_plugin.settings import add_arguments

    procedure = gimp.Procedure()
    add_arguments(procedure)
    config = procedure.create_config()
    if expected:
        image.layers[0].locked = True
    else:
        config.properties["width"] = "wide"
        config.properties["automatic-width"] = False
        select(image, 5, 6, 20, 10)
    mode = gimp.RunMode.NONINTERACTIVE
    status, text = _run(procedure, mode, image, image.layers[:], config, None)
    assert status == gimp.PDBStatusType.EXECUTION_ERROR
    log = tmp_path / "gimp-plug-in.log"
    if expected:
        assert text == (
            "The pixels of “photo” are locked. "
            "Unlock them in the Layers dialog, or set the output to a new layer."
        )
        assert not log.exists()
    else:
        assert "Something went wrong" in text
        assert str(log) in text
        assert "ValueError: could not convert string to float: 'wide'" in log.read_text("utf-8")
