import json
from io import BytesIO

from PIL import Image

from runner.diffusion.drawing import Drawing
from runner.infer.pictures import Source, contact_sheet, encode_png, parameters_text

SOURCE = Source("teddy", "0123456789abcdef" * 4)
DRAWING = Drawing(
    "a sks dog, 8k",
    seed=7,
    negative_prompt="blurry",
    guidance_scale=7.5,
    steps=30,
    size=(64, 32),
    sampler="euler_a",
)


def test_parameters_are_written_as_the_webui_writes_them():
    assert parameters_text(DRAWING, SOURCE) == (
        "a sks dog, 8k\n"
        "Negative prompt: blurry\n"
        "Steps: 30, Sampler: Euler a, CFG scale: 7.5, Seed: 7, Size: 64x32, Model hash: 0123456789, Model: teddy"
    )


def test_without_a_negative_prompt_there_is_no_line_for_it():
    assert parameters_text(Drawing("a dog", seed=1), SOURCE).splitlines()[1].startswith("Steps: 30")


def test_png_carries_parameters_and_json_in_any_script():
    drawing = Drawing("ein Bär ☃\nin zwei Zeilen", seed=1)
    with Image.open(BytesIO(encode_png(Image.new("RGB", (8, 8)), drawing, SOURCE, "words"))) as image:
        image.load()
        assert image.text["parameters"].startswith("ein Bär ☃\nin zwei Zeilen\nSteps: 30")
        record = json.loads(image.text["dreambooth"])
    assert (record["prompt"], record["seed"], record["prompt_cut"]) == (drawing.prompt, 1, "words")


def test_png_holds_no_clock_or_program():
    data = encode_png(Image.new("RGB", (8, 8)), DRAWING, SOURCE)
    assert data == encode_png(Image.new("RGB", (8, 8)), DRAWING, SOURCE)
    with Image.open(BytesIO(data)) as image:
        image.load()
        assert set(image.text) == {"parameters", "dreambooth"}


def test_contact_sheet_has_a_row_per_label_and_enlarges_small_pictures():
    red = encode_png(Image.new("RGB", (8, 8), "red"), DRAWING, SOURCE)
    blue = encode_png(Image.new("RGB", (16, 8), "blue"), DRAWING, SOURCE)
    with Image.open(BytesIO(contact_sheet([("one ☃" * 100, [red, blue]), ("two", [red])]))) as sheet:
        assert sheet.size == (320, 352)
        assert sheet.getpixel((80, 96)) == (255, 0, 0)
        assert sheet.getpixel((240, 96)) == (0, 0, 255)
        assert sheet.getpixel((240, 30)) == (255, 255, 255)
