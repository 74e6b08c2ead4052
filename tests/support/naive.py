"""A writer as many are: read, merge, write. It answers errands as a courier does and must fail where a courier holds.

It proves the harness. ``in-place`` opens the file for writing; ``rename`` writes beside and renames.
"""

import json
import os
import sys


def main(way):
    errand = json.loads(sys.stdin.readline())
    path = errand["path"]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with open(path) as file:
            document = json.load(file)
    except FileNotFoundError:
        document = {}
    auths = document.setdefault("auths", {})
    for host, auth in errand["logins"].items():
        auths[host] = {"auth": auth}
    text = json.dumps(document, indent="\t")
    target = path if way == "in-place" else f"{path}.tmp"
    with open(target, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if way == "rename":
        os.rename(target, path)
    sys.stdout.write(json.dumps({"found": {}, "changed": True, "refusal": None, "notes": [], "rest": None}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
