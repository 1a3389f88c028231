"""Reads Avro bytes with fastavro for test/differential/avro-resolution.test.ts.

One line of JSON in ({"reader", "writer", "data": [hex]}), one line out: {"refused": why} when a schema cannot be parsed, else
{"read": [{"word": value} or {"error": why}]}. Values are told in the words of avro-reader.ts. Logical types are read as the
types they stand on.
"""

import io
import json
import struct
import sys

import fastavro
import fastavro.read

fastavro.read.LOGICAL_READERS.clear()


def word(value):
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return f"i:{value}"
    if isinstance(value, float):
        return "d:" + struct.pack(">d", value).hex()
    if isinstance(value, str):
        return "s:" + value
    if isinstance(value, (bytes, bytearray)):
        return "b:" + bytes(value).hex()
    if isinstance(value, dict):
        return {key: word(item) for key, item in value.items()}
    return [word(item) for item in value]


def why(error):
    return f"{type(error).__name__}: {error}"[:200]


def answer(pair):
    try:
        writer = fastavro.parse_schema(pair["writer"])
        reader = fastavro.parse_schema(pair["reader"])
    except Exception as error:
        return {"refused": why(error)}
    read = []
    for data in pair.get("data", []):
        try:
            value = fastavro.schemaless_reader(io.BytesIO(bytes.fromhex(data)), writer, reader)
            read.append({"word": word(value)})
        except Exception as error:
            read.append({"error": why(error)})
    return {"read": read}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))))
