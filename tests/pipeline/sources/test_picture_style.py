import numpy as np

from pipeline.sources.picture_style import PictureStyle, StyleCounts, add_styles, count_style, is_light, join_styles

DARK = np.zeros((3, 4, 5), np.uint8)
DARK[:, 1:3, 1:4] = 90
LIGHT = 200 - DARK


def test_background_is_that_of_most_borders():
    assert is_light(np.concatenate([DARK, LIGHT])).tolist() == [False] * 3 + [True] * 3
    assert count_style(np.concatenate([DARK, LIGHT])).to_style("grey").background == "dark"
    crossed = LIGHT.copy()
    crossed[:, :, 1] = 0  # less than half of the border
    assert is_light(crossed).all()


def test_sum_of_counts_is_the_count_of_all_pictures():
    parts = [count_style(DARK, ["b", "a", "b"]), StyleCounts(), count_style(LIGHT, ["b"]), count_style(LIGHT)]
    whole = count_style(np.concatenate([DARK, LIGHT, LIGHT]), ["b", "a", "b", "b"])
    assert add_styles(parts) == whole
    style = whole.to_style("grey")
    expected = PictureStyle(background="light", darkest=0, brightest=200, conversions={"a": 1, "b": 3})
    assert style == expected
    assert style.value_range == 200


def test_joint_style_is_that_of_most_pictures_and_of_all_values():
    dark = PictureStyle(background="dark", darkest=9, brightest=20, conversions={"a": 1})
    light = PictureStyle(background="light", darkest=3, brightest=5, conversions={"a": 2, "b": 1})
    expected = PictureStyle(background="light", darkest=3, brightest=20, conversions={"a": 3, "b": 1})
    assert join_styles([(dark, 3), (light, 4)]) == expected
