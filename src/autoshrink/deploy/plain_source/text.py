"""What the generated file of every language model has after its network: text to tokens, and tokens to text."""

from __future__ import annotations

import json

from autoshrink.data import Vocabulary
from autoshrink.deploy.plain_source.python import fill

VOCABULARY_FILE = "vocabulary.json"

TAIL = """
def load(path: str | Path = HERE / "model.safetensors") -> Network:
    \"\"\"The network with its trained weights, in evaluation mode.\"\"\"
    network = Network()
    network.load_state_dict(load_file(path))
    return network.eval()


def cut(line: str) -> list[str]:
    \"\"\"The tokens of a line.\"\"\"
    return $cut


def encode(text: str) -> list[int]:
    \"\"\"A text as token numbers.\"\"\"
$encode
    numbers = {token: number for number, token in enumerate(TOKENS)}
    return [numbers.get(token, UNKNOWN) for token in tokens]


def decode(numbers: list[int]) -> str:
    \"\"\"Token numbers as text.\"\"\"
    tokens = ["\\n" if number == END else TOKENS[number] for number in numbers]
$decode


@torch.inference_mode()
def generate(prompt: str, length: int = 60, temperature: float = 0.8) -> str:
    \"\"\"A prompt and the `length` tokens that the network writes after it.\"\"\"
    network = load()
    numbers = encode(prompt)
    read = torch.tensor([END, *numbers]).unsqueeze(1)
    logits, state = network(read, network.initial_state(batch=1))
    latest = logits[-1]
    for _ in range(length):
        latest[:, UNKNOWN] = -torch.inf
        token = (latest / temperature).softmax(dim=1).multinomial(1)[:, 0]
        numbers.append(int(token))
        latest, state = network.step(token, state)
    return decode(numbers)


if __name__ == "__main__":
    print(generate(" ".join(sys.argv[1:])))
"""

CUT = {
    "spaces": "line.split()",
    "words": r"""re.findall(r"<\w+>|\d+(?:[.,]\d+)+|\w+(?:['’-]\w+)*|\S", line)""",
    "characters": "list(line)",
}
"""By the vocabulary's rule; see `autoshrink.data.tokenising`."""

ENCODE = """
    *lines, last = text.replace("\\r\\n", "\\n").split("\\n")
    tokens = []
    for line in lines:
$line
    tokens += cut(last)"""

ANY_LINE = """
        tokens += [*cut(line), TOKENS[END]]"""

FULL_LINE = """
        if line.strip():
            tokens += [*cut(line), TOKENS[END]]"""

ENCODE_WITHOUT_LINES = """
    tokens = cut(" ".join(text.splitlines()))"""

DECODE = {
    "spaces": """
    return " ".join(tokens).replace(" \\n", "\\n").replace("\\n ", "\\n")""",
    "words": """
    text = " ".join(tokens).replace(" \\n", "\\n").replace("\\n ", "\\n")
    text = re.sub(r" ([.,;:!?%)\\]}…”’»])", r"\\1", text)
    return re.sub(r"([(\\[{“‘«]) ", r"\\1", text)""",
    "characters": """
    return "".join(tokens)""",
}


def tail(vocabulary: Vocabulary) -> str:
    """The file's end: loading, text to tokens and back, writing on from a prompt."""
    rule = vocabulary.rule
    # A text whose lines had no end of their own was read as one.
    lines = fill(ENCODE, line=fill(ANY_LINE if rule == "spaces" else FULL_LINE))
    encode = lines if vocabulary.counts[vocabulary.end] else fill(ENCODE_WITHOUT_LINES)
    return fill(TAIL, cut=CUT[rule], encode=encode, decode=fill(DECODE[rule]))


def vocabulary_file(vocabulary: Vocabulary) -> str:
    """The tokens as a JSON list, a token a line."""
    return json.dumps(vocabulary.tokens, indent=0, ensure_ascii=False) + "\n"
