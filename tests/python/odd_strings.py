"""Keys and values that break encoders, by what is odd about them."""

from __future__ import annotations

ODD_STRINGS = {
    "one byte": "x",
    "prototype": "__proto__",
    "constructor": "constructor",
    "NUL": "a\0b",
    "only NUL": "\0",
    "newline": "line 1\nline 2\r\n",
    "quotes": "\"double\" 'single' `back`",
    "backslashes": "\\ \\\\ \\n \\u0041",
    "JSON": '{"key": [1, null]}',
    "emoji": "🚀👩\u200d👩\u200d👧",
    "accents": "é e\u0301",
    "separators": "\u2028\u2029\ufeff",
    "last of the planes": "\U0010ffff",
    "spaces": "  \t ",
    "path": "../../etc/passwd",
    "a thousand bytes": "k" * 1000,
}
