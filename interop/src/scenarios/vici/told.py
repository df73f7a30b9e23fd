"""What an answer has, one line for each key: a path and a value, where numbers that are another's each time are replaced by
what they are."""
import re

# Keys of such numbers.
VOLATILE = re.compile(
    r"(uniqueid|reqid|.*-spi|spi-(in|out)|established|(re)?(key|auth)-time|.*-time|bytes-.*|packets-.*|use-(in|out)"
    r"|since|running|total|idle|critical|high|medium|low|scheduled|sbrk|mmap|used|free|allocs|release|.*-port)$"
)


def lines(path, value):
    """What a value has, one line for each key."""
    if isinstance(value, dict):
        if not value:
            yield path, "{}"
        for key, inner in value.items():
            yield from lines(f"{path}/{name(path, key)}", inner)
    elif isinstance(value, list):
        items = [text(item) for item in value]
        # What charon lists of hash tables has no order.
        yield path, "[" + ", ".join(sorted(items) if path.endswith(("/keys", "/conns")) else items) + "]"
    else:
        yield path, neutral(path.rsplit("/", 1)[-1], text(value))


def name(path, key):
    """A section's name, without the number that distinguishes CHILD_SAs."""
    return re.sub(r"-\d+$", "", key) if "child-sas" in path else key


def neutral(key, said):
    """A value without what is another's each time."""
    if key == "errmsg":
        return "SENTENCE" if said else ""
    if VOLATILE.match(key) and re.fullmatch(r"-?[0-9a-f]+|[\w.: -]+", said):
        return "NUMBER"
    return said


def text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
