"""What two answers have in common when only their dress differs: case, quotes, white space, closing punctuation.

Knows strings, nothing about examples or labels.
"""

import unicodedata

_PAIRS = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "„": "“", "«": "»", "*": "*", "[": "]", "(": ")"}
_CLOSING = ".,;:!?…。！？、"


def normalise(text: str) -> str:
    """`text` without case, surrounding quotes, backticks, stars or brackets, closing punctuation and extra white space.

    Nothing is taken away that would leave nothing, so `?` and `!` stay different. Case and accents follow the Unicode
    rule for canonical caseless matching (Unicode Standard, D145). Normalising twice changes nothing.
    """
    text = _plain(text)
    while (peeled := _plain(_peel(text))) and peeled != text:
        text = peeled
    return text


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFD", text).casefold()
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFD", folded)).split())


def _peel(text: str) -> str:
    bare = text.rstrip(_CLOSING)
    if len(bare) >= 2 and _PAIRS.get(bare[0]) == bare[-1]:
        return bare[1:-1]
    return bare
