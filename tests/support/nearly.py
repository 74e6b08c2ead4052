"""Bytes that are almost what they should be: a real text, with some of it lost, doubled, moved or replaced."""

from hypothesis import strategies as st

# What parsers stumble over, besides single characters.
_ODD = (
    b"",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r",
    b'"',
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"[",
    b"]",
    b"}",
    b",",
)
_odd = st.sampled_from(
    [*_ODD, b"1e999", b"-0", b"9" * 400, b"null", b"'", b"#", b"=", b"$(id)", b"`id`", b"%s", b"\xe2\x80\xae"]
)


@st.composite
def nearly(draw, texts):
    """Return one of *texts*, as bytes, with a few wounds."""
    data = draw(st.sampled_from([text if isinstance(text, bytes) else text.encode() for text in texts]))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        match draw(st.sampled_from(("cut", "lose", "double", "put", "replace"))):
            case "cut":
                data = data[:start]
            case "lose":
                data = data[:start] + data[end:]
            case "double":
                data = data[:end] + data[start:]
            case "put":
                data = data[:start] + draw(_odd | st.binary(max_size=4)) + data[start:]
            case _:
                data = data[:start] + draw(_odd | st.binary(max_size=4)) + data[end:]
    return data
