"""The pictures of a matting recipe: which are trained on, and whom they are owed to."""

from __future__ import annotations

from pathlib import Path

from maskupe.errors import InputError
from maskupe_training.data.images import fit_long_edge, read_rgb
from maskupe_training.data.photos import licensed_images
from maskupe_training.matte import scenes
from maskupe_training.matte.recipe import MatteRecipe, Pictures
from maskupe_training.matte.samples import Material
from maskupe_training.model_card import lines_of

# Long edge of the backgrounds in pixels.
_PHOTO_EDGE = 640


def read_material(recipe: MatteRecipe, data: Path) -> Material:
    """Read the pictures that a recipe names, without those that are held out.

    Raises:
        InputError: for data that is missing, or whose licences are unknown.
    """
    cutouts = [path.stem for path in trained_on(recipe.cutouts, data)]
    photos = trained_on(recipe.photos, data)
    masked = [
        pair for folder in recipe.masked.folders for pair in scenes.read_masked(data / folder)
    ]
    return Material(
        scenes.read_cutouts(data / recipe.cutouts.folder, cutouts),
        [fit_long_edge(read_rgb(path), _PHOTO_EDGE) for path in photos],
        masked,
        recipe.masked.share,
    )


def trained_on(pictures: Pictures, data: Path) -> list[Path]:
    """Return the pictures of a folder that are trained on: licensed, and not held out.

    Raises:
        InputError: if there are none, or the folder's licences are unknown.
    """
    folder = data / pictures.folder
    licensed = licensed_images(folder, pictures.licences)
    found = [path for path in licensed if not scenes.held_out(path.stem)]
    if not found:
        raise InputError(
            f"No picture of {folder} may be trained on.",
            "Check the recipe's licences and index.csv.",
        )
    return found


def credit_lines(recipe: MatteRecipe, data: Path) -> list[str]:
    """One line per author, collection and licence of the pictures trained on, with the files."""
    lines: list[str] = []
    for pictures in (recipe.cutouts, recipe.photos):
        folder = data / pictures.folder
        if (folder / "index.csv").is_file():
            lines += lines_of(folder, {path.name for path in trained_on(pictures, data)})
    return lines
