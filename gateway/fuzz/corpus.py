"""Writes the golden frames as corpora: corpus.py FOLDER makes FOLDER/client_frames and FOLDER/websocket_frames."""

import json
import sys
from pathlib import Path

VECTORS = Path(__file__).resolve().parents[2] / "shared" / "protocol" / "vectors"
MASK = bytes([1, 2, 3, 4])


def masked(opcode: int, payload: bytes, fin: bool = True) -> bytes:
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
    body = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return bytes([(0x80 if fin else 0) | opcode]) + length + MASK + body


def main(folder: Path) -> None:
    frames = [vector["text"].encode() for vector in json.loads((VECTORS / "client.json").read_text())]
    packed = [bytes.fromhex(vector["msgpack"]) for vector in json.loads((VECTORS / "msgpack.json").read_text())]
    inputs = {"client_frames": frames + packed, "websocket_frames": []}
    for frame in (frame for frame in frames + packed if len(frame) < 4096):
        half = len(frame) // 2
        whole = masked(1, frame) + masked(9, b"ping") + masked(8, (1000).to_bytes(2, "big"))
        parts = masked(1, frame[:half], fin=False) + masked(10, b"") + masked(0, frame[half:])
        inputs["websocket_frames"] += [bytes([7]) + whole, bytes([200]) + parts]
    for name, seeds in inputs.items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds):
            (target / f"vector-{number:04}").write_bytes(seed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
