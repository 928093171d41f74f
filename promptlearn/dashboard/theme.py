"""Colours and sizes of the pages, light and dark, as options of Streamlit's.

The colours are Okabe and Ito's, which people with any common colour blindness tell apart; where a colour means
something, a word or a sign says the same.
"""

from __future__ import annotations

from typing import Any

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PINK, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#8A8F98"
CATEGORIES = [BLUE, ORANGE, GREEN, PINK, SKY, VERMILLION, YELLOW, GREY]

_COMMON = {
    "baseRadius": "0.5rem",
    "baseFontSize": 15,
    "headingFontSizes": ["1.75rem", "1.3rem", "1.1rem", "1rem", "0.9rem", "0.9rem"],
    "headingFontWeights": [650, 600, 600, 600, 600, 600],
    "metricValueFontSize": "1.6rem",
    "codeFontSize": "0.85rem",
    "showWidgetBorder": True,
    "chartCategoricalColors": CATEGORIES,
}
_LIGHT = {
    "primaryColor": BLUE,
    "backgroundColor": "#FFFFFF",
    "secondaryBackgroundColor": "#F4F6F8",
    "textColor": "#1B2430",
    "borderColor": "#D9DEE4",
    "linkColor": BLUE,
}
_DARK = {
    "primaryColor": SKY,
    "backgroundColor": "#12161C",
    "secondaryBackgroundColor": "#1C222B",
    "textColor": "#E6EAF0",
    "borderColor": "#343C48",
    "linkColor": SKY,
}

THEME: dict[str, Any] = {
    **{f"theme.{name}": value for name, value in _COMMON.items()},
    **{f"theme.light.{name}": value for name, value in _LIGHT.items()},
    **{f"theme.dark.{name}": value for name, value in _DARK.items()},
}
